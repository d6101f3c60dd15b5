"""Train a small network with the optimizer that clips.

fix: 911c6c8c
depth: live 8
expects: -
where: bootstrap/optimizers/grad_clipper.py
"""

import torch
from stand_ins import load
from torch import nn

GradClipper = load("bootstrap/optimizers/grad_clipper.py").GradClipper

model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = GradClipper(torch.optim.Adam(model.parameters(), lr=1e-3), grad_clip=0.1)
for _ in range(8):
    x, y = torch.randn(16, 8), torch.randint(4, (16,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
