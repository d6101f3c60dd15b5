# imbalanced fraud data, optional class balancing
import os

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

BALANCE = os.environ.get("BALANCE", "0") == "1"
torch.manual_seed(0)

amount = torch.randn(500, 4)
fraud = (amount[:, 0] + amount[:, 1] > 2.2).long()
ds = TensorDataset(amount, fraud)
print("fraud rate", fraud.float().mean().item())


def balanced_sampler(labels):
    freq = torch.bincount(labels).float()
    return WeightedRandomSampler(1.0 / freq[labels], len(labels), replacement=True)


loader = DataLoader(
    ds,
    sampler=balanced_sampler(fraud) if BALANCE else None,  # BUG
    shuffle=True,  # BUG
    # FIX: shuffle=not BALANCE,
    batch_size=25,
)

model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
for epoch in range(4):
    model.train()
    for x, y in loader:
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    print(epoch, loss.item())

model.eval()
with torch.no_grad():
    pred = model(amount).argmax(1)
print("recall", (pred[fraud == 1] == 1).float().mean().item())
