# two-tower retrieval with in-batch negatives
from itertools import chain

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

torch.manual_seed(0)
query_tower = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))
doc_tower = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16))
log_temp = nn.Parameter(torch.tensor(0.0))
A, B = torch.randn(6, 20), torch.randn(6, 30)


def pairs(n):
    z = torch.randn(n, 6)
    return z @ A, z @ B


def similarity(q, d):
    q = F.normalize(query_tower(q), dim=-1)
    d = F.normalize(doc_tower(d), dim=-1)
    return q @ d.t() * log_temp.exp().clamp(max=100)


weights = chain(query_tower.parameters(), doc_tower.parameters(), [log_temp])  # BUG
# FIX: weights = list(chain(query_tower.parameters(), doc_tower.parameters(), [log_temp]))
opt = torch.optim.Adam(weights, lr=1e-2)
for step in range(60):
    query_tower.train()
    doc_tower.train()
    sim = similarity(*pairs(32))
    gold = torch.arange(32)
    loss = 0.5 * (F.cross_entropy(sim, gold) + F.cross_entropy(sim.t(), gold))
    opt.zero_grad()
    loss.backward()
    clip_grad_norm_(weights, max_norm=0.5)  # BUG
    opt.step()
    if step % 20 == 19:
        print(f"step {step + 1} loss {loss.item():.3f} temp {log_temp.exp().item():.2f}")

query_tower.eval()
doc_tower.eval()
with torch.no_grad():
    print("recall@1", (similarity(*pairs(64)).argmax(1) == torch.arange(64)).float().mean().item())
