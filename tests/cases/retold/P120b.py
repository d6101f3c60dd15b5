# click-through model, manual gradient averaging
import os

import torch
import torch.distributed as dist

env = os.environ
for key, val in [("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1), ("MASTER_PORT", 29671)]:
    env.setdefault(key, str(val))
env.setdefault("MASTER_ADDR", "127.0.0.1")
use_cuda = torch.cuda.is_available()
local_rank = int(env["LOCAL_RANK"])

# FIX+: if use_cuda:
# FIX+:     torch.cuda.set_device(local_rank)
dist.init_process_group("nccl" if use_cuda else "gloo")
rank, world = dist.get_rank(), dist.get_world_size()


def place(obj):
    return obj.cuda() if use_cuda else obj  # BUG


torch.manual_seed(0)
n_users, n_items = 50, 80
user = torch.randint(0, n_users, (600,))
item = torch.randint(0, n_items, (600,))
click = ((user + item) % 5 < 2).float()
user, item, click = (place(t[rank::world]) for t in (user, item, click))


class Factorizer(torch.nn.Module):
    def __init__(self, k=8):
        super().__init__()
        self.u = torch.nn.Embedding(n_users, k)
        self.i = torch.nn.Embedding(n_items, k)
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(self, u, i):
        return (self.u(u) * self.i(i)).sum(-1) + self.bias


model = place(Factorizer())
opt = torch.optim.Adagrad(model.parameters(), lr=0.1)
bce = torch.nn.BCEWithLogitsLoss()
model.train()
for step in range(30):
    opt.zero_grad()
    loss = bce(model(user, item), click)
    loss.backward()
    for p in model.parameters():
        dist.all_reduce(p.grad)
        p.grad.div_(world)
    opt.step()
    if rank == 0 and step % 10 == 0:
        print(step, round(loss.item(), 4))
dist.destroy_process_group()
