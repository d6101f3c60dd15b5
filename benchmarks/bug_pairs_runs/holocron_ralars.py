"""Train a small convolutional classifier with the project's optimizer and validate it after each epoch.

fix: 928ac50e
depth: live 60
expects: -
where: program
"""

import torch
from stand_ins import load
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RaLars = load("holocron/optim/ralars.py").RaLars


def pictures(size):
    labels = torch.arange(size) % 4
    images = torch.randn(size, 3, 16, 16) + labels.view(-1, 1, 1, 1) * 0.3
    return TensorDataset(images, labels)


model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, 4),
)
criterion = nn.CrossEntropyLoss()
optimizer = RaLars(model.parameters(), lr=1e-3, weight_decay=1e-4)
train_loader = DataLoader(pictures(90), batch_size=16, shuffle=True)
val_loader = DataLoader(pictures(30), batch_size=16)

for epoch in range(3):
    model.train()
    for images, labels in train_loader:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    right = 0
    with torch.no_grad():
        for images, labels in val_loader:
            right += (model(images).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {right / 30:.2f}")
