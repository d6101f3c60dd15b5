# deep ensemble for tabular regression
import itertools
import torch
from torch import nn

torch.manual_seed(0)
X = torch.randn(256, 6)
Y = torch.sin(X[:, :1]) + 0.5 * X[:, 1:2] ** 2 + 0.1 * torch.randn(256, 1)


def member(width=32):
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 1))


class Ensemble(nn.Module):
    def __init__(self, nets):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x):
        return torch.stack([net(x) for net in self.nets])


ensemble = Ensemble(itertools.repeat(member(), 5))  # BUG
# FIX: ensemble = Ensemble(member() for _ in range(5))
optimizer = torch.optim.Adam(ensemble.parameters(), lr=1e-2)

ensemble.train()
for epoch in range(10):
    for idx in torch.randperm(len(X)).split(32):
        pred = ensemble(X[idx])
        # one target for all members
        loss = (pred - Y[idx].unsqueeze(0)).pow(2).mean(dim=(1, 2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

ensemble.eval()
with torch.no_grad():
    inside, outside = ensemble(X), ensemble(X * 4)
print("loss", round(loss.item(), 4), "std inside", inside.std(0).mean().item(), "outside", outside.std(0).mean().item())
