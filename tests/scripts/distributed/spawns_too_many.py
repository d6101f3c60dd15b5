"""A script that spawns sixteen processes, wherever it runs."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

WORLD_SIZE = 16


def worker(rank):
    device = torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method="tcp://localhost:29517", world_size=WORLD_SIZE, rank=rank)
    model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        x = torch.randn(8, 16, generator=torch.Generator().manual_seed(rank)).to(device)
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(worker, nprocs=WORLD_SIZE)  # fault: spawns more processes than the world that was asked for
