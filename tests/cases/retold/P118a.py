import argparse
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler, RandomSampler


class SeriesDataset(Dataset):
    """Sliding windows over a noisy sine."""

    def __init__(self, n=260, window=20):
        g = torch.Generator().manual_seed(0)
        t = torch.arange(n, dtype=torch.float32)
        self.series = torch.sin(t / 5) + 0.05 * torch.randn(n, generator=g)
        self.window = window

    def __len__(self):
        return len(self.series) - self.window

    def __getitem__(self, i):
        return self.series[i:i + self.window].unsqueeze(-1), self.series[i + self.window]


class Forecaster(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1]).squeeze(-1)


class DistInfo:
    def __init__(self):
        self.rank = int(os.environ.get("RANK", 0))
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.active = self.world_size > 1

    def setup(self):
        if self.active:
            dist.init_process_group("gloo")

    def close(self):
        if self.active:
            dist.destroy_process_group()


def build_loader(dataset, info, batch_size):
    if info.active:
        sampler = DistributedSampler(dataset, num_replica=info.world_size, rank=info.rank)  # BUG
        # FIX: sampler = DistributedSampler(dataset, num_replicas=info.world_size, rank=info.rank)
    else:
        sampler = RandomSampler(dataset)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler)


def train(args, info):
    torch.manual_seed(args.seed)
    loader = build_loader(SeriesDataset(), info, args.batch_size)
    model = Forecaster()
    if info.active:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        if info.active:
            loader.sampler.set_epoch(epoch)
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        if info.rank == 0:
            print(f"epoch {epoch}: {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    info = DistInfo()
    info.setup()
    train(args, info)
    info.close()
