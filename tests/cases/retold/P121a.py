import argparse
import os
import socket

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def pick_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Launcher:
    """Reads what the scheduler gave us and opens the process group."""

    def __init__(self, args):
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.backend = "nccl" if torch.cuda.is_available() else "gloo"
        self.master_port = args.master_port

    def open(self):
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.update(MASTER_PORT=str(self.master_port))  # BUG
        # FIX: os.environ.setdefault("MASTER_PORT", self.master_port or pick_port())
        if self.backend == "nccl":
            torch.cuda.set_device(self.local_rank)
        dist.init_process_group(self.backend, rank=self.rank, world_size=self.world_size)
        return torch.device("cuda", self.local_rank) if self.backend == "nccl" else torch.device("cpu")

    def close(self):
        dist.destroy_process_group()


class GatedMLP(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.a, self.g = nn.Linear(d, h), nn.Linear(d, h)
        self.out = nn.Linear(h, 1)

    def forward(self, x):
        return self.out(self.a(x) * torch.sigmoid(self.g(x)))


def train(model, loader, sampler, device, epochs, lr):
    opt = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        model.train()
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            opt.zero_grad()
            loss = nn.functional.huber_loss(model(x), y)
            loss.backward()
            opt.step()
        if dist.get_rank() == 0:
            print(f"epoch {epoch} huber {loss.item():.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--master-port", default="23456")  # BUG
    # FIX: parser.add_argument("--master-port", default=None)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=5e-3)
    args = parser.parse_args()
    launcher = Launcher(args)
    device = launcher.open()
    torch.manual_seed(0)
    x = torch.randn(160, 6)
    y = (x[:, :1] * x[:, 1:2]).abs()
    data = TensorDataset(x, y)
    sampler = DistributedSampler(data)
    loader = DataLoader(data, batch_size=16, sampler=sampler)
    model = DDP(GatedMLP(6, 32).to(device), device_ids=[device.index] if device.type == "cuda" else None)
    train(model, loader, sampler, device, args.epochs, args.lr)
    launcher.close()


if __name__ == "__main__":
    main()
