"""Train a small classifier with the project's Lion and its cosine schedule, and validate it after each epoch.

fix: 178d8f09
depth: live 60
expects: -
where: program
"""

import torch
from pytorch_optimizer import CosineAnnealingWarmupRestarts, create_optimizer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
centers = torch.randn(5, 20)


def points(size):
    labels = torch.randint(0, 5, (size,))
    return TensorDataset(centers[labels] + 0.8 * torch.randn(size, 20), labels)


train_loader = DataLoader(points(150), batch_size=32, shuffle=True)
valid_loader = DataLoader(points(50), batch_size=32)

epochs = 4
model = nn.Sequential(nn.Linear(20, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 5))
criterion = nn.CrossEntropyLoss()
optimizer = create_optimizer(model, "lion", lr=1e-3, weight_decay=1e-2)
scheduler = CosineAnnealingWarmupRestarts(
    optimizer, first_cycle_steps=epochs * len(train_loader), max_lr=1e-3, min_lr=1e-5, warmup_steps=4
)

for epoch in range(epochs):
    model.train()
    total_loss = 0.0
    for inputs, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        total_loss += loss.item() * len(labels)

    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, labels in valid_loader:
            correct += (model(inputs).argmax(1) == labels).sum().item()
    print(f"epoch {epoch}: loss {total_loss / 150:.3f}, accuracy {correct / 50:.2f}")
