"""Train a small classifier on unbalanced classes with the project's focal loss and class weights.

fix: e11e75ba
depth: live 60
expects: TW101
where: focalloss.py
stands in: Python 2's long
"""

import builtins

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

builtins.long = int

from focalloss import FocalLoss

torch.manual_seed(0)
centres = torch.randn(4, 1, 16, 16)


def pictures(count):
    share = torch.tensor([0.55, 0.25, 0.15, 0.05])
    labels = torch.multinomial(share, count, replacement=True)
    return TensorDataset(centres[labels] + torch.randn(count, 1, 16, 16), labels)


train = DataLoader(pictures(240), batch_size=24, shuffle=True)
test = DataLoader(pictures(96), batch_size=24)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(128, 4)
)
criterion = FocalLoss(gamma=2, alpha=[0.4, 0.8, 1.2, 3.0])
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

for epoch in range(3):
    model.train()
    total = 0.0
    for x, y in train:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in test:
            right += (model(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch}: loss {total / len(train.dataset):.4f}, accuracy {right / len(test.dataset):.3f}")
