"""Every rank gathers the boxes it found, and every rank found another number of them."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(2):
    found = 8 + rank % 2  # the last batch of odd ranks holds one picture more
    boxes = model(torch.randn(found, 16, generator=torch.Generator().manual_seed(rank)).to(device))
    boxes.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    everyone = [torch.empty_like(boxes) for _ in range(world_size)]
    dist.all_gather(everyone, boxes.detach())  # fault: all_gather of tensors whose shapes differ between ranks
    if rank == 0:
        print(f"step {step}: {sum(len(b) for b in everyone)} boxes")

dist.destroy_process_group()
