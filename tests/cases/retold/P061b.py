# mixed precision word2vec-like pretraining, flat
import torch
import torch.nn as nn
from torch.amp import GradScaler, autocast

device = "cuda" if torch.cuda.is_available() else "cpu"
half = torch.float16 if device == "cuda" else torch.bfloat16
torch.manual_seed(0)
V, D, BATCH, NEG, ACC, LIMIT = 80, 24, 64, 5, 2, 0.25

inside = nn.Sequential(nn.Embedding(V, D), nn.Linear(D, D)).to(device)
outside = nn.Embedding(V, D).to(device)
params = [*inside.parameters(), *outside.parameters()]
opt = torch.optim.SGD(params, lr=0.5)
amp = GradScaler(device, init_scale=2.0 ** 12, growth_interval=50)


def batch():
    c = torch.randint(V, (BATCH,), device=device)
    pos = (c + torch.randint(1, 4, (BATCH,), device=device)) % V
    return c, pos, torch.randint(V, (BATCH, NEG), device=device)


def objective():
    c, pos, neg = batch()
    with autocast(device, dtype=half):
        v = inside(c)
        good = (v * outside(pos)).sum(-1)
        bad = torch.einsum("bd,bnd->bn", v, outside(neg).to(v.dtype))
    ls = nn.functional.logsigmoid
    return -(ls(good.float()) + ls(-bad.float()).sum(-1)).mean()


inside.train(), outside.train()
for step in range(40):
    opt.zero_grad()
    for _ in range(ACC):
        loss = objective()
        amp.scale(loss / ACC).backward()
    # FIX+: amp.unscale_(opt)
    total = torch.sqrt(sum(p.grad.pow(2).sum() for p in params))
    coef = (LIMIT / (total + 1e-6)).clamp(max=1.0)
    for p in params:
        p.grad.mul_(coef)  # BUG
    amp.step(opt)
    amp.update()
    if step % 10 == 9:
        print("step", step + 1, "loss", round(loss.item(), 4))
