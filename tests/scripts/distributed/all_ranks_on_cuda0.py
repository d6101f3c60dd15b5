"""Every process of a node uses the first GPU."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
device = "cuda:0" if torch.cuda.is_available() else "cpu"  # fault: not cuda:LOCAL_RANK, so all ranks share one GPU
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(int(os.environ["RANK"]))).to(device)
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
