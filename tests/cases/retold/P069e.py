"""Two stages of a sensor model: a long stage on source data, then adaptation from its checkpoint."""
import io
import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer, warmup, total):
    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / (total - warmup))
        return 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def build(lr=2e-2, warmup=5, total=60):
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    return net, optimizer, warmup_cosine(optimizer, warmup, total)


def make_batches(n, drift, seed):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(8, 2, generator=torch.Generator().manual_seed(99)) + drift
    for _ in range(n):
        x = torch.randn(32, 8, generator=g)
        yield x, x @ mix + 0.05 * torch.randn(32, 2, generator=g)


def run(net, optimizer, schedule, batches, tag):
    net.train()
    for i, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if i % 20 == 0:
            print(f"[{tag}] {i:3d} loss {loss.item():.4f} lr {schedule.get_last_lr()[0]:.2e}")


def save(net, optimizer, schedule):
    buf = io.BytesIO()
    state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    torch.save(state, buf)
    buf.seek(0)
    return buf


def restore(buf, net):
    state = torch.load(buf, map_location="cpu")
    net.load_state_dict(state["net"])
    return state


torch.manual_seed(7)
net, optimizer, schedule = build()
run(net, optimizer, schedule, make_batches(60, drift=0.0, seed=1), "source")
checkpoint = save(net, optimizer, schedule)

net, optimizer, schedule = build()
state = restore(checkpoint, net)
optimizer.load_state_dict(state["optimizer"])  # BUG
# FIX:
schedule.load_state_dict(state["schedule"])  # BUG
# FIX:
run(net, optimizer, schedule, make_batches(60, drift=0.7, seed=2), "adapt")

net.eval()
with torch.no_grad():
    errors = [nn.functional.mse_loss(net(x), y).item() for x, y in make_batches(4, drift=0.7, seed=3)]
print(f"target error {sum(errors) / len(errors):.4f}")
