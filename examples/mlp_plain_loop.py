"""A classifier on tabular data, the way one writes it in an afternoon: no functions, no arguments."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"

features = torch.randn(20_000, 128)
targets = (features[:, :16].sum(dim=1) > 0).long()
train = DataLoader(TensorDataset(features[:16_000], targets[:16_000]), batch_size=256, shuffle=True)
test = DataLoader(TensorDataset(features[16_000:], targets[16_000:]), batch_size=512)

model = nn.Sequential(
    nn.Linear(128, 1024), nn.ReLU(), nn.Dropout(0.2),
    nn.Linear(1024, 1024), nn.ReLU(), nn.Dropout(0.2),
    nn.Linear(1024, 2),
).to(device)  # fmt: skip
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

for epoch in range(2):
    model.train()
    running = 0.0
    for x, y in train:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item()

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for x, y in test:
            x, y = x.to(device), y.to(device)
            correct += (model(x).argmax(dim=1) == y).sum().item()
            total += len(y)
    print(f"epoch {epoch}: loss {running / len(train):.4f}, accuracy {correct / total:.3f}")
