"""Rank 0 logs the mean loss of all ranks; nobody else takes part in the reduction."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
rank = dist.get_rank()
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(100 * step + rank)).to(device)
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if rank == 0:
        mean = loss.detach()
        dist.all_reduce(mean)  # fault: a collective inside a branch that only rank 0 takes: deadlock
        print(f"step {step} loss {mean.item() / dist.get_world_size():.4f}")

dist.destroy_process_group()
