"""DDP fitting of a sine regressor. torchrun --nproc-per-node 2 this_file.py"""
import argparse
import os
import socket

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP


def pick_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("", 0))
        return str(sock.getsockname()[1])


def get_args():
    p = argparse.ArgumentParser("sine")
    p.add_argument("--steps", type=int, default=40)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-2)
    p.add_argument("--dist-url", default="tcp://127.0.0.1:23456")  # BUG
    # FIX: p.add_argument("--dist-url", default="env://")
    return p.parse_args()


def setup(args):
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    os.environ.setdefault("LOCAL_RANK", "0")
    # FIX+: os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    # FIX+: os.environ.setdefault("MASTER_PORT", pick_port())
    args.rank = int(os.environ["RANK"])
    args.world_size = int(os.environ["WORLD_SIZE"])
    args.gpu = int(os.environ["LOCAL_RANK"])
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(args.gpu)
    dist.init_process_group(
        backend="nccl" if cuda else "gloo",
        init_method=args.dist_url,  # BUG
        rank=args.rank,
        world_size=args.world_size,
    )
    return torch.device("cuda", args.gpu) if cuda else torch.device("cpu")


def mean_over_ranks(value):
    value = value.detach().clone()
    dist.all_reduce(value)
    return (value / dist.get_world_size()).item()


def main():
    args = get_args()
    device = setup(args)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)).to(device)
    model = DDP(net, device_ids=[args.gpu] if device.type == "cuda" else None)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    gen = torch.Generator().manual_seed(100 + args.rank)  # each rank draws its own points
    model.train()
    for step in range(args.steps):
        x = torch.empty(args.batch, 1).uniform_(-3, 3, generator=gen).to(device)
        loss = nn.functional.mse_loss(model(x), torch.sin(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            avg = mean_over_ranks(loss)
            if args.rank == 0:
                print(f"step {step + 1} loss {avg:.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
