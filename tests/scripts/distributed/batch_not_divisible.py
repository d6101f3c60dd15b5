"""A global batch of 100 on a number of ranks that does not divide it."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

GLOBAL_BATCH = 100

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(2):
    batch = torch.randn(GLOBAL_BATCH, 16, generator=torch.Generator().manual_seed(step))
    mine = batch.tensor_split(world_size)[rank].to(device)  # fault: world size does not divide 100: unequal shares
    model(mine).square().mean().backward()  # DDP takes the mean of means, in which shares of any size count alike
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
