# style: metric-learning notebook, triplets from a helper that works on numpy arrays
import numpy as np
import torch
from torch import nn
from torch.autograd import Variable

np.random.seed(3)
torch.manual_seed(3)
centres = np.random.randn(6, 10).astype(np.float32)


def draw(n):
    a = np.random.randint(0, 6, n)
    b = (a + np.random.randint(1, 6, n)) % 6
    near = lambda c: torch.from_numpy(centres[c] + 0.8 * np.random.randn(n, 10).astype(np.float32))
    return near(a), near(a), near(b)


embed = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))
optimizer = torch.optim.RMSprop(embed.parameters(), lr=1e-3)


def hinge(anchor, positive, negative, margin=1.0):
    d_pos = ((anchor - positive) ** 2).sum(1)
    d_neg = ((anchor - negative) ** 2).sum(1)
    active = (d_pos - d_neg + margin).data.clamp(min=0) > 0
    losses = (d_pos - d_neg + margin)[active] if active.any() else 0 * d_pos
    return losses, active.float().mean().item()


for step in range(50):
    embed.train()
    a, p, n = draw(48)
    losses, frac = hinge(embed(a), embed(p), embed(n))
    loss = Variable(losses.mean().data, requires_grad=True)  # BUG
    # FIX: loss = losses.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 9:
        print("step %d loss %.3f active %.2f" % (step + 1, loss.item(), frac))

embed.eval()
with torch.no_grad():
    a, p, n = map(embed, draw(200))
    print("triplet accuracy", ((a - p).norm(dim=1) < (a - n).norm(dim=1)).float().mean().item())
