"""Fit a small network with Lion in its foreach form.

fix: 6ce7576d
depth: live 20
expects: TW339
where: program
"""

import torch
from lion_pytorch.foreach import Lion
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = Lion(model.parameters(), lr=1e-3, weight_decay=1e-2)
x = torch.randn(256, 8)
y = x.sum(1, keepdim=True)
for _ in range(30):
    at = torch.randint(256, (32,))
    loss = nn.functional.mse_loss(model(x[at]), y[at])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
