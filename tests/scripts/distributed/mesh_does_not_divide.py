"""A tensor-parallel degree of 3, which divides no usual number of GPUs."""

import os

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

TP = 3

local_rank = int(os.environ["LOCAL_RANK"])
kind = "cuda" if torch.cuda.is_available() else "cpu"
device = torch.device(f"cuda:{local_rank}" if kind == "cuda" else "cpu")
dist.init_process_group("nccl" if kind == "cuda" else "gloo")
world_size = dist.get_world_size()
mesh = init_device_mesh(kind, (world_size // TP, TP), mesh_dim_names=("dp", "tp"))  # fault: 3 does not divide the world
model = fully_shard(torch.nn.Linear(16, 4).to(device), mesh=mesh["dp"])
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(2):
    x = torch.randn(8, 16, generator=torch.Generator().manual_seed(mesh["dp"].get_local_rank())).to(device)
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
