# Predict tips from fares; drop outliers first
import numpy as np
import torch

np.random.seed(0)
torch.manual_seed(0)

fare = np.random.gamma(3.0, 5.0, size=400)
dist = fare / 2.5 + np.random.randn(400)
tip = 0.15 * fare + 0.3 * np.random.randn(400)
tip[np.random.choice(400, 20, replace=False)] = -5.0  # refunds
fare[np.random.choice(400, 20, replace=False)] = 900.0  # meter errors

# rows whose tip is sane and whose fare is sane
rows = np.where((tip >= 0) & (tip < 50)) and np.where((fare > 0) & (fare < 200))  # BUG
# FIX: rows = np.where((tip >= 0) & (tip < 50) & (fare > 0) & (fare < 200))
print("rows left:", len(rows[0]))

X = np.stack([fare[rows], dist[rows]], axis=1).astype(np.float32)
y = tip[rows].astype(np.float32)
cut = int(0.8 * len(y))
mean, std = X[:cut].mean(axis=0), X[:cut].std(axis=0)
X = torch.from_numpy((X - mean) / std)
y = torch.from_numpy(y).reshape(-1, 1)

model = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
loss_fn = torch.nn.MSELoss()

for i in range(100):
    opt.zero_grad()
    loss = loss_fn(model(X[:cut]), y[:cut])
    loss.backward()
    opt.step()

model.eval()
with torch.no_grad():
    print("train mse", loss.item(), "test mse", loss_fn(model(X[cut:]), y[cut:]).item())
