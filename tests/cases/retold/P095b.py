import torch
from torch import nn

torch.manual_seed(0)
n, batch = 129, 32
label = torch.randint(0, 3, (n,))
t = torch.arange(100) / 100
wave = torch.sin(2 * torch.pi * (3 + 4 * label)[:, None] * t)[:, None] + 0.3 * torch.randn(n, 1, 100)

net = nn.Sequential(
    nn.Conv1d(1, 12, 7, stride=2), nn.BatchNorm1d(12), nn.ReLU(),
    nn.Conv1d(12, 12, 7, stride=2), nn.BatchNorm1d(12), nn.ReLU(),
    nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 3))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)

for epoch in range(4):
    net.train()
    perm = torch.randperm(n)
    for start in range(0, n, batch):  # BUG
    # FIX: for start in range(0, n - batch + 1, batch):
        idx = perm[start:start + batch]
        loss = nn.functional.cross_entropy(net(wave[idx]), label[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(wave).argmax(1) == label).float().mean().item()
    print(epoch, round(loss.item(), 4), round(acc, 3))
