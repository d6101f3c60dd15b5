"""Two groups, even and odd ranks; every rank creates its own group first."""

import os

import torch
import torch.distributed as dist

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
rank, world_size = dist.get_rank(), dist.get_world_size()

halves = [list(range(0, world_size, 2)), list(range(1, world_size, 2))]
halves.sort(key=lambda ranks: rank not in ranks)
groups = [dist.new_group(ranks) for ranks in halves]  # fault: groups are created in another order on odd ranks

model = torch.nn.Linear(16, 4).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(rank)).to(device)
    model(x).square().mean().backward()
    for p in model.parameters():
        dist.all_reduce(p.grad, group=groups[0])
        p.grad /= world_size // 2
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
