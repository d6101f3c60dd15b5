"""BatchNorm under DDP with buffers that are not broadcast: every rank keeps statistics of its own."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
model = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 4)).to(device)
model = DistributedDataParallel(model, broadcast_buffers=False)  # fault: running statistics diverge between ranks
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(dist.get_rank())).to(device)
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
