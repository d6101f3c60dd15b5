"""A script for torchrun that is started without it: no RANK, no WORLD_SIZE, no MASTER_ADDR."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")  # fault: env:// needs RANK, which is not set
local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(dist.get_rank())).to(device)
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
