# house prices: shards per rank, RMSE on the held-out part (torchrun --nproc-per-node 2 this.py)
import os
from functools import partial

import torch
import torch.distributed as dist
import torch.utils.data as tud

os.environ.setdefault("RANK", "0")
os.environ.setdefault("WORLD_SIZE", "1")
os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
os.environ.setdefault("MASTER_PORT", "29683")
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()

torch.manual_seed(0)
area, rooms, age = torch.rand(305) * 150 + 30, torch.randint(1, 7, (305,)).float(), torch.rand(305) * 80
price = 3.0 * area + 20 * rooms - 1.5 * age + 10 * torch.randn(305)
feats = torch.stack([area / 100, rooms / 5, age / 50], dim=1)
train_set = tud.TensorDataset(feats[:200], price[:200] / 100)
valid_set = tud.TensorDataset(feats[200:], price[200:] / 100)

sharded = partial(tud.distributed.DistributedSampler, num_replicas=world, rank=rank)
train_sampler = sharded(train_set)
train_dl = tud.DataLoader(train_set, batch_size=20, sampler=train_sampler)
valid_dl = tud.DataLoader(valid_set, batch_size=50, sampler=sharded(valid_set, shuffle=False))  # BUG
# FIX: valid_dl = tud.DataLoader(valid_set, batch_size=50, sampler=range(rank, len(valid_set), world))

net = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
ddp = torch.nn.parallel.DistributedDataParallel(net)
opt = torch.optim.Adam(ddp.parameters(), lr=1e-2)

for epoch in range(4):
    train_sampler.set_epoch(epoch)
    ddp.train()
    for x, y in train_dl:
        opt.zero_grad()
        loss = torch.nn.functional.mse_loss(ddp(x).squeeze(1), y)
        loss.backward()
        opt.step()
    net.eval()
    with torch.inference_mode():
        sq = torch.cat([(net(x).squeeze(1) - y) ** 2 for x, y in valid_dl])
    stats = torch.tensor([sq.sum().item(), float(len(sq))])
    dist.all_reduce(stats)
    if rank == 0:
        print(f"epoch {epoch} valid rmse {(stats[0] / stats[1]).sqrt():.4f}")
dist.destroy_process_group()
