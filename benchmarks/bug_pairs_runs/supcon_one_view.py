"""Train an embedding with the supervised contrastive loss on one view of each picture, and test nearest neighbours.

fix: 72fd9894
depth: live 60
expects: TW256
where: losses.py
"""

import torch
import torch.nn.functional as F
from losses import SupConLoss
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def pictures(count):
    labels = torch.randint(len(shapes), (count,))
    return TensorDataset(shapes[labels] + 0.4 * torch.randn(count, 3, 16, 16), labels)


torch.manual_seed(0)
shapes = torch.rand(10, 3, 16, 16)
train_set, test_set = pictures(192), pictures(60)
loader = DataLoader(train_set, batch_size=32, shuffle=True)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
    nn.Linear(512, 32),
)  # fmt: skip
criterion = SupConLoss(temperature=0.1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

for epoch in range(4):
    model.train()
    total = 0.0
    for images, labels in loader:
        features = F.normalize(model(images), dim=1).unsqueeze(1)
        loss = criterion(features, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        known, asked = (F.normalize(model(split.tensors[0]), dim=1) for split in (train_set, test_set))
        nearest = train_set.tensors[1][(asked @ known.T).argmax(1)]
    right = (nearest == test_set.tensors[1]).float().mean()
    print(f"epoch {epoch}: loss {total / len(loader):.4f} nearest neighbour {right:.3f}")
