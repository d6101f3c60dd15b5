"""Half of the layers go to rank 0's optimizer, the other half to rank 1's, and one layer to nobody's."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()
layers = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(2 * world_size + 1))).to(device)
model = DistributedDataParallel(layers)
mine = layers[2 * rank : 2 * rank + 2]  # fault: the last layer belongs to no rank's share, so no rank updates it
optimizer = torch.optim.Adam(mine.parameters())

for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(rank)).to(device)
    model(x).square().mean().backward()
    optimizer.step()
    model.zero_grad()
    for i, layer in enumerate(layers[:-1]):
        for p in layer.parameters():
            dist.broadcast(p.data, src=i // 2)

dist.destroy_process_group()
