import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Dataset, DistributedSampler


class PointClouds(Dataset):
    def __init__(self, n=96, n_points=32):
        g = torch.Generator().manual_seed(0)
        self.labels = torch.arange(n) % 2
        radius = 1.0 + 0.5 * self.labels.float()
        pts = nn.functional.normalize(torch.randn(n, n_points, 3, generator=g), dim=-1)
        self.points = pts * radius[:, None, None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.points[i], self.labels[i]


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32))
        self.cls = nn.Linear(32, 2)

    def forward(self, pts):
        return self.cls(self.mlp(pts).max(dim=1).values)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def setup():
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("LOCAL_RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", free_port())
    if torch.cuda.is_available():
        # FIX+: torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group(backend="nccl")  # BUG
    else:
        dist.init_process_group(backend="gloo")


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        data = PointClouds()
        self.sampler = DistributedSampler(data)
        self.loader = DataLoader(data, batch_size=16, sampler=self.sampler)
        self.model = DDP(PointNet().to(self.device))  # BUG
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def to_device(self, batch):
        return [t.to(self.device, non_blocking=True) for t in batch]

    def fit(self):
        for epoch in range(self.args.epochs):
            self.sampler.set_epoch(epoch)
            self.model.train()
            for batch in self.loader:
                pts, labels = self.to_device(batch)
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(pts), labels)
                loss.backward()
                self.optimizer.step()
            if dist.get_rank() == 0:
                print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-2)
    args = parser.parse_args()
    setup()
    torch.manual_seed(0)
    Trainer(args).fit()
    dist.destroy_process_group()
