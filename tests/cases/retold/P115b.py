# language id from character counts, launched with torchrun
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

for k, v in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1",
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29633"}.items():
    os.environ.setdefault(k, v)

rank, local_rank, world = (int(os.environ[k]) for k in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
ngpus = torch.cuda.device_count()
backend, ddp_kwargs = "gloo", {}
device = torch.device("cpu")
if ngpus:
    torch.cuda.set_device(local_rank)
    device = torch.device("cuda", local_rank)
    backend = "nccl"
    ddp_kwargs = {"device_ids": [*range(ngpus)], "broadcast_buffers": False}  # BUG
    # FIX: ddp_kwargs = {"device_ids": [local_rank], "broadcast_buffers": False}
dist.init_process_group(backend)

torch.manual_seed(0)
profiles = torch.rand(5, 26).softmax(-1)
lang = torch.randint(0, 5, (200,))
draws = [torch.multinomial(profiles[i], 80, replacement=True) for i in lang]
counts = torch.stack([d.bincount(minlength=26) for d in draws])
x, y = (counts.float() / 80)[rank::world].to(device), lang[rank::world].to(device)

clf = nn.Sequential(nn.Linear(26, 64), nn.ReLU(), nn.Linear(64, 5)).to(device)
clf = nn.parallel.DistributedDataParallel(clf, **ddp_kwargs)
opt = torch.optim.Adam(clf.parameters(), lr=1e-2)
clf.train()
for step in range(30):
    opt.zero_grad()
    loss = F.cross_entropy(clf(x), y)
    loss.backward()
    opt.step()
    if rank == 0 and step % 10 == 0:
        print(step, loss.item())
dist.destroy_process_group()
