import argparse
import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Options:
    def __init__(self, args):
        self.world_size = max(torch.cuda.device_count(), 1)
        self.lr = args.lr
        self.steps = args.steps
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]


class AutoEncoder(nn.Module):
    def __init__(self, dim=20, code=4):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(dim, 16), nn.ReLU(), nn.Linear(16, code))
        self.dec = nn.Sequential(nn.Linear(code, 16), nn.ReLU(), nn.Linear(16, dim))

    def forward(self, x):
        return self.dec(self.enc(x))


def make_data(rank):
    g = torch.Generator().manual_seed(10 + rank)
    basis = torch.randn(4, 20, generator=torch.Generator().manual_seed(0))
    return torch.randn(128, 4, generator=g) @ basis


def train_worker(rank, opt):
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(rank)
    device = torch.device("cuda", rank) if cuda else torch.device("cpu")
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=f"tcp://127.0.0.1:{opt.port}",
        rank=rank,
        world_size=opt.world_size,
    )
    torch.manual_seed(0)
    model = DDP(AutoEncoder().to(device), device_ids=[rank] if cuda else None)
    optimizer = torch.optim.Adam(model.parameters(), lr=opt.lr)
    data = make_data(rank).to(device)
    model.train()
    for step in range(opt.steps):
        x = data[torch.randint(0, len(data), (32,), device=device)]
        loss = nn.functional.mse_loss(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 10 == 0:
            print(f"step {step}: {loss.item():.4f}")
    dist.destroy_process_group()


def launch(fn, opt):
    if opt.world_size == 1:
        fn(0, opt)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    mp.spawn(fn, nprocs=opt.world_size, join=True, args=(opt))  # BUG
    # FIX: mp.spawn(fn, nprocs=opt.world_size, join=True, args=(opt,))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--steps", type=int, default=30)
    launch(train_worker, Options(parser.parse_args()))
