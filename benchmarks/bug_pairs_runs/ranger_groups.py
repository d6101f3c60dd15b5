"""Fine-tune a pretrained body and a new head with the Ranger optimizer, the body with a smaller learning rate.

fix: 1a5394b4
depth: live 60
expects: -
where: program
"""

import torch
import torch.nn.functional as F
from ranger import Ranger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(0)
features = torch.randn(320, 20)
targets = (features[:, :3].sin() * features[:, 3:6]).sum(1, keepdim=True)
training, testing = random_split(TensorDataset(features, targets), [256, 64])
training = DataLoader(training, batch_size=32, shuffle=True)
testing = DataLoader(testing, batch_size=32)

body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
head = nn.Linear(32, 1)
net = nn.Sequential(body, head)
optimizer = Ranger([{"params": head.parameters(), "lr": 1e-2}, {"params": body.parameters(), "lr": 1e-4}], lr=1e-2)
for epoch in range(5):
    net.train()
    total = 0.0
    for x, y in training:
        loss = F.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
    net.eval()
    error = 0.0
    with torch.no_grad():
        for x, y in testing:
            error += F.mse_loss(net(x), y, reduction="sum").item()
    print(f"epoch {epoch}: training {total / len(training.dataset):.4f} testing {error / len(testing.dataset):.4f}")
