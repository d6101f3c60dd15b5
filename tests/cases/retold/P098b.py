# next-value prediction from daily records
import torch
from torch import nn

torch.manual_seed(0)
WINDOW = 7
series = torch.sin(torch.arange(200) / 5) + 0.05 * torch.randn(200)

windows = series.unfold(0, WINDOW, 1)[:-1]
targets = series[WINDOW + 5:]  # BUG
# FIX: targets = series[WINDOW:]
pairs = [(w, y) for w, y in zip(windows, targets)]  # BUG
# FIX: pairs = [(w, y) for w, y in zip(windows, targets, strict=True)]

net = nn.Sequential(nn.Linear(WINDOW, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
net.train()
for epoch in range(5):
    for chunk in torch.randperm(len(pairs)).split(32):
        x, y = (torch.stack(part) for part in zip(*(pairs[i] for i in chunk.tolist())))
        loss = nn.functional.mse_loss(net(x).squeeze(1), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
print(len(pairs), "pairs, loss", round(loss.item(), 5))
