# classify small photos held in a numpy array (N, H, W, C)
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

rng = np.random.default_rng(0)
torch.manual_seed(0)

labels = rng.integers(0, 3, size=120)
photos = rng.integers(0, 120, size=(120, 20, 20, 3)).astype(np.uint8)
for photo, label in zip(photos, labels):
    photo[..., label] += 100
sizes = rng.integers(18, 20, size=120)  # some photos are a bit smaller than the canvas
for photo, s in zip(photos, sizes):
    photo[s:] = 0


def collate(items):
    xs = np.stack([p for p, _ in items]).transpose(0, 3, 1, 2)
    ys = np.array([l for _, l in items])
    return torch.as_tensor(xs.astype(np.float32)), torch.as_tensor(ys)  # BUG
    # FIX: return torch.as_tensor(xs.astype(np.float32) / 255.0), torch.as_tensor(ys)


loader = DataLoader(list(zip(photos, labels)), batch_size=20, shuffle=True, collate_fn=collate)
model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 12, 3), nn.ReLU(),
                      nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(48, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

for epoch in range(4):
    model.train()
    running, right = 0.0, 0
    for x, y in loader:
        optimizer.zero_grad()
        out = model(x)
        loss = criterion(out, y)
        loss.backward()
        optimizer.step()
        running += loss.item()
        right += (out.argmax(1) == y).sum().item()
    print("epoch", epoch, "loss", running / len(loader), "acc", right / len(labels))
