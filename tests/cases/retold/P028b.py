# MC dropout on moons, old-fashioned script
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


def moons(n):
    y = torch.randint(0, 2, (n,))
    t = math.pi * torch.rand(n)
    upper = torch.stack([t.cos(), t.sin()], 1)
    lower = torch.stack([1 - t.cos(), 0.5 - t.sin()], 1)
    return torch.where(y[:, None] == 0, upper, lower) + 0.1 * torch.randn(n, 2), y


x_train, y_train = moons(200)
x_test, y_test = moons(100)

net = nn.Sequential(
    nn.Linear(2, 64), nn.ReLU(), nn.Dropout(0.2),
    nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2),
    nn.Linear(64, 2),
)
opt = torch.optim.Adam(net.parameters(), lr=1e-2)

net.train()
for epoch in range(60):
    opt.zero_grad()
    loss = F.cross_entropy(net(x_train), y_train)
    loss.backward()
    opt.step()
print("train loss %.4f" % loss.item())

# dropout stays on: we want samples of the predictive distribution
net.eval()
for m in net.modules():
    if isinstance(m, nn.Dropout):
        m.train()

draws = []
with torch.no_grad():
    for _ in range(25):
        draws.append(F.softmax(net(x_test), dim=1))
samples = torch.cat(draws)  # BUG
# FIX: samples = torch.stack(draws)
mean_prob = samples.mean(dim=0)
spread = samples.std(dim=0)

pred = mean_prob.argmax(dim=-1)
print("mc accuracy %.3f" % (pred == y_test).float().mean().item())
print("mean spread %.4f" % spread.mean().item())
entropy = -(mean_prob * mean_prob.clamp_min(1e-8).log()).sum(-1)
print("mean predictive entropy %.4f" % entropy.mean().item())
