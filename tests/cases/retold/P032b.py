# House price toy: log-price regression with an optional per-house offset
import numpy as np
import torch
from torch import nn

rng = np.random.default_rng(7)
torch.manual_seed(7)
X = torch.from_numpy(rng.normal(size=(256, 6)).astype("float32"))
w = torch.from_numpy(rng.normal(size=(6, 1)).astype("float32"))
y = X @ w + 3.0 + 0.05 * torch.randn(256, 1)
mu, sd = X[:200].mean(0), X[:200].std(0)
X = (X - mu) / sd                       # (256,6) - (6,)
Xtr, ytr, Xte, yte = X[:200], y[:200], X[200:], y[200:]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, feats, offset=0.0):
        return self.body(feats) + offset


def huber(residual, target=0.0, delta=1.0):
    r = (residual - target).abs()
    return torch.where(r < delta, 0.5 * r ** 2, delta * (r - 0.5 * delta)).mean()


net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
for epoch in range(10):
    net.train()
    for idx in torch.randperm(200).split(50):
        xb, yb = Xtr[idx], ytr[idx]
        opt.zero_grad()
        err = huber(net(xb, yb))  # BUG
        # FIX: err = huber(net(xb), yb)
        err.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        mae = (net(Xte) - yte).abs().mean()
    print(epoch, round(err.item(), 4), "test MAE", round(mae.item(), 4))
