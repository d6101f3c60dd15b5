"""A learned temperature outside the wrapped model: every rank updates it by its own gradient."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
temperature = torch.nn.Parameter(torch.ones((), device=device))  # fault: not part of what DDP wraps: never averaged
optimizer = torch.optim.SGD([*model.parameters(), temperature], lr=0.1)

for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(dist.get_rank())).to(device)
    (model(x) / temperature).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
