# distributed k-armed value regression, gradients averaged by hand; torchrun on 2 nodes x 8 gpus
import os

import torch
import torch.distributed as dist
import torch.nn as nn

for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": 29709}.items():
    os.environ.setdefault(name, str(value))


def pick_device(index):
    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(index)
    return f"cuda:{index}"


dist.init_process_group(backend="nccl" if torch.cuda.is_available() else "gloo")
device = pick_device(dist.get_rank())  # BUG
# FIX: device = pick_device(int(os.environ["LOCAL_RANK"]))

torch.manual_seed(0)                          # same weights everywhere
critic = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
opt = torch.optim.Adam(critic.parameters(), lr=3e-3)

rng = torch.Generator().manual_seed(10 + dist.get_rank())     # other experience on each rank
critic.train()
for it in range(1, 21):
    s = torch.randn(64, 12, generator=rng).to(device)
    ret = s[:, :1].abs() - 0.5 * s[:, 1:2]
    loss = nn.functional.smooth_l1_loss(critic(s), ret)
    opt.zero_grad()
    loss.backward()
    for p in critic.parameters():
        dist.all_reduce(p.grad, op=dist.ReduceOp.SUM)
        p.grad /= dist.get_world_size()
    opt.step()
    if it % 10 == 0 and dist.get_rank() == 0:
        print(it, f"{loss.item():.4f}")
dist.destroy_process_group()
