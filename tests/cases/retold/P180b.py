# ddp policy gradient on a contextual bandit (torchrun --nproc-per-node 2, or alone)
import os

import torch
import torch.distributed as dist
import torch.nn as nn

env_defaults = [("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29691")]
for k, v in env_defaults:
    os.environ.setdefault(k, v)
local = int(os.environ.get("LOCAL_RANK", "0"))
cuda = torch.cuda.is_available()
if cuda:
    torch.cuda.set_device(local)
dev = torch.device("cuda", local) if cuda else torch.device("cpu")
dist.init_process_group("nccl" if cuda else "gloo")
rank = dist.get_rank()

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)).to(dev)
policy = nn.parallel.DistributedDataParallel(policy, device_ids=[local] if cuda else None)
opt = torch.optim.Adam(policy.parameters(), lr=1e-2)
act_fn = policy.module.forward  # BUG
# FIX: act_fn = policy

torch.manual_seed(1000 + rank)     # every rank explores on its own contexts
policy.train()
for it in range(1, 31):
    ctx = torch.randn(64, 8, device=dev)
    dist_a = torch.distributions.Categorical(logits=act_fn(ctx))
    a = dist_a.sample()
    reward = ctx.gather(1, a.unsqueeze(1)).squeeze(1)
    adv = reward - reward.mean()
    loss = -(dist_a.log_prob(a) * adv.detach()).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
    if it % 10 == 0 and rank == 0:
        print(it, "reward", reward.mean().item())
dist.destroy_process_group()
