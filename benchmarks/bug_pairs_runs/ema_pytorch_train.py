"""Train a small convolutional classifier with the project's moving average and validate both after each epoch.

fix: 638f1526
depth: live 60
expects: -
where: program
"""

import torch
import torch.nn.functional as F
from ema_pytorch import EMA
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
train = TensorDataset(torch.randn(90, 3, 16, 16) * 2 + 1, torch.randint(0, 4, (90,)))
valid = TensorDataset(torch.randn(30, 3, 16, 16) * 2 + 1, torch.randint(0, 4, (30,)))
net = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1),
    nn.BatchNorm2d(8),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 4),
)
ema = EMA(net, beta=0.99, update_after_step=4, update_every=1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


def evaluate(name, model):
    total = 0.0
    with torch.no_grad():
        for images, targets in DataLoader(valid, batch_size=16):
            total += F.cross_entropy(model(images), targets, reduction="sum").item()
    print(name, total / len(valid))


for _ in range(3):
    net.train()
    for images, targets in DataLoader(train, batch_size=16, shuffle=True):
        loss = F.cross_entropy(net(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update()
    net.eval()
    ema.ema_model.eval()
    evaluate("online", net)
    evaluate("averaged", ema)
torch.save(ema.state_dict(), "ema.pt")
