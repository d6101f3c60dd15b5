"""Fine-tune the last layer of a small classifier and keep a moving average of its weights, as in the README.

fix: 05fe2c74
depth: live 60
expects: -
where: program
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch_ema import ExponentialMovingAverage

torch.manual_seed(0)
train = TensorDataset(torch.rand(100, 10), torch.randint(0, 3, (100,)))
valid = TensorDataset(torch.rand(40, 10), torch.randint(0, 3, (40,)))
body = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
for param in body.parameters():
    param.requires_grad = False
head = nn.Linear(16, 3)
model = nn.Sequential(body, head)
optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
ema = ExponentialMovingAverage(model.parameters(), decay=0.995)


def evaluate(name):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for inputs, targets in DataLoader(valid, batch_size=16):
            total += F.cross_entropy(model(inputs), targets, reduction="sum").item()
    print(name, total / len(valid))


for _ in range(3):
    model.train()
    for inputs, targets in DataLoader(train, batch_size=16, shuffle=True):
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model.parameters())
    evaluate("original")

ema.copy_to(head.parameters())
evaluate("averaged")
