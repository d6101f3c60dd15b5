# instrument from the odd harmonics 1, 3, 5, 7, 9 (column h of `power` is harmonic h, column 0 is DC)
import numpy as np
import torch
import torch.nn as nn

torch.manual_seed(0)
rng = np.random.default_rng(0)
n = 320
instrument = rng.integers(0, 3, n)
decay = np.array([0.5, 1.0, 1.5])[instrument]
h = np.arange(10)
power = np.exp(-decay[:, None] * h) * rng.uniform(0.7, 1.3, (n, 10))

odd = np.log(power[:, 1:9:2])  # BUG
# FIX: odd = np.log(power[:, 1:10:2])
total = np.log(power[:, 1:].sum(1, keepdims=True))
feats = torch.tensor(np.hstack([odd, total]), dtype=torch.float32)
labels = torch.from_numpy(instrument)

mu, sd = feats[:256].mean(0), feats[:256].std(0)
feats = (feats - mu) / sd
net = nn.Sequential(nn.Linear(feats.shape[1], 32), nn.ReLU(), nn.Linear(32, 3))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)

for epoch in range(4):
    net.train()
    for idx in torch.randperm(256).split(64):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(net(feats[idx]), labels[idx])
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        acc = (net(feats[256:]).argmax(1) == labels[256:]).float().mean().item()
    print(epoch, round(acc, 3))
