"""Train a small picture classifier with AdaBoundW and weight decay, and test it after each epoch.

fix: d5bb5ffc
depth: live 60
expects: TW352
where: program
"""

import torch
import torch.nn.functional as F
from adabound.adabound import AdaBoundW
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
labels = torch.randint(4, (256,))
pictures = torch.randn(256, 1, 12, 12)
pictures[torch.arange(256), 0, labels * 3] += 1.5
training, testing = random_split(TensorDataset(pictures, labels), [200, 56])
training = DataLoader(training, batch_size=25, shuffle=True)
testing = DataLoader(testing, batch_size=28)

net = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 6 * 6, 4),
)  # fmt: skip
optimizer = AdaBoundW(net.parameters(), lr=1e-3, final_lr=0.1, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.1)
for epoch in range(6):
    net.train()
    total = 0.0
    for x, y in training:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    scheduler.step()
    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in testing:
            right += (net(x).argmax(1) == y).sum().item()
    print(f"epoch {epoch}: loss {total / len(training.dataset):.4f} test {right / len(testing.dataset):.3f}")
