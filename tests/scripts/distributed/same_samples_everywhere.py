"""DDP whose loader has no DistributedSampler."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

local_rank = int(os.environ["LOCAL_RANK"])
device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")

torch.manual_seed(0)
data = TensorDataset(torch.randn(256, 16), torch.randint(4, (256,)))
loader = DataLoader(data, batch_size=8, shuffle=True)  # fault: no DistributedSampler, so all ranks see the same samples
model = DistributedDataParallel(torch.nn.Linear(16, 4).to(device))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for x, y in loader:
    loss = torch.nn.functional.cross_entropy(model(x.to(device)), y.to(device))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()

dist.destroy_process_group()
