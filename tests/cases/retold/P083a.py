"""Iteration-based trainer (train for N iterations, whatever the size of the data)."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class DenoiseSet(Dataset):
    def __init__(self, n=128):
        self.clean = torch.rand(n, 1, 12, 12).repeat_interleave(2, -1).repeat_interleave(2, -2)
        self.noise = 0.3 * torch.randn(n, 1, 24, 24)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        return {"noisy": self.clean[i] + self.noise[i], "clean": self.clean[i]}


class DataSource:
    def __init__(self, loader):
        self.loader = loader
        # FIX+: self.stream = self._endless()

    # FIX+: def _endless(self):
    # FIX+:     while True:
    # FIX+:         yield from self.loader

    def next_batch(self):
        for batch in self.loader:  # BUG
        # FIX: return next(self.stream)
            return batch  # BUG
            # FIX:


class Trainer:
    def __init__(self, args):
        self.args = args
        g = torch.Generator().manual_seed(args.seed)
        loader = DataLoader(DenoiseSet(), batch_size=args.batch_size, shuffle=args.shuffle, generator=g)
        self.source = DataSource(loader)
        self.model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def train(self):
        self.model.train()
        for it in range(1, self.args.iters + 1):
            batch = self.source.next_batch()
            residual = self.model(batch["noisy"])
            loss = F.mse_loss(batch["noisy"] - residual, batch["clean"])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if it % 10 == 0:
                print(f"iter {it} loss {loss.item():.5f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--iters", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-shuffle", dest="shuffle", action="store_false")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    Trainer(args).train()
