"""DistributedDataParallel in its shortest form.

torchrun --standalone --nproc-per-node 2 ddp_minimal.py
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, Dataset, DistributedSampler

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=256, help="samples per GPU")
parser.add_argument("--width", type=int, default=4096)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--samples", type=int, default=262_144)
args = parser.parse_args()

rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
if torch.cuda.is_available():
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl")
else:
    device = torch.device("cpu")
    dist.init_process_group("gloo")


class Rings(Dataset):
    """Which of ten rings around the origin does a point of 64 dimensions lie in?"""

    def __len__(self):
        return args.samples

    def __getitem__(self, index):
        x = torch.randn(64, generator=torch.Generator().manual_seed(index))
        return x, ((x.norm() - 6) * 2.5).long().clamp(0, 9)


data = Rings()
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=args.batch_size, sampler=sampler, drop_last=True)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(64, args.width), nn.ReLU(), nn.Linear(args.width, args.width), nn.ReLU(), nn.Linear(args.width, 10)
).to(device)
model = DDP(model, device_ids=[local_rank] if device.type == "cuda" else None)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(args.epochs):
    sampler.set_epoch(epoch)
    for step, (x, y) in enumerate(loader):
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 20 == 0:
            print(f"epoch {epoch} step {step} loss {loss.item():.4f}")

dist.barrier()
dist.destroy_process_group()
