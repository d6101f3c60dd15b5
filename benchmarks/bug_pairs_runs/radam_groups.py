"""Fit a recommender's embeddings and its tower with RAdam, each with betas of its own, and test after each epoch.

fix: 28ff5175
depth: live 60
expects: -
where: program
"""

import torch
import torch.nn.functional as F
from radam import RAdam
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Ratings(nn.Module):
    def __init__(self, users, items, dim=16):
        super().__init__()
        self.users = nn.Embedding(users, dim)
        self.items = nn.Embedding(items, dim)
        self.tower = nn.Sequential(nn.Linear(2 * dim, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))

    def forward(self, users, items):
        return self.tower(torch.cat([self.users(users), self.items(items)], 1)).squeeze(1)


torch.manual_seed(0)
users, items = torch.randint(50, (1200,)), torch.randint(80, (1200,))
ratings = torch.randn(50)[users] + torch.randn(80)[items] + torch.randn(1200) * 0.1
train_loader = DataLoader(TensorDataset(users[:1000], items[:1000], ratings[:1000]), batch_size=50, shuffle=True)
test_loader = DataLoader(TensorDataset(users[1000:], items[1000:], ratings[1000:]), batch_size=50)
model = Ratings(50, 80)
optimizer = RAdam(
    [
        {"params": [*model.users.parameters(), *model.items.parameters()], "lr": 1e-2, "betas": (0.9, 0.99)},
        {"params": model.tower.parameters(), "lr": 3e-3},
    ],
    betas=(0.9, 0.999),
)
for epoch in range(5):
    model.train()
    for batch in train_loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(*batch[:2]), batch[2])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        squares = sum(F.mse_loss(model(*batch[:2]), batch[2], reduction="sum").item() for batch in test_loader)
    print(f"epoch {epoch}: training {loss.item():.3f} test {squares / 200:.3f}")
