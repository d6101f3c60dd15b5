# House prices, notebook style
import numpy as np
import torch
import torch.nn.functional as F

np.random.seed(1)
torch.manual_seed(1)

# ---- data
area = np.random.uniform(30, 200, size=200)
rooms = np.random.randint(1, 7, size=200)
age = np.random.uniform(0, 60, size=200)
price = 2.0 * area + 15 * rooms - 0.8 * age + np.random.randn(200) * 5

X = np.stack([area, rooms, age], axis=1).astype("float32")
X_tr, X_te = X[:160], X[160:]
y_tr, y_te = price[:160].astype("float32"), price[160:].astype("float32")

mu, sd = X_tr.mean(0), X_tr.std(0)
X_tr, X_te = (X_tr - mu) / sd, (X_te - mu) / sd
y_mu, y_sd = y_tr.mean(), y_tr.std()
y_tr, y_te = (y_tr - y_mu) / y_sd, (y_te - y_mu) / y_sd

X_tr, X_te = torch.from_numpy(X_tr), torch.from_numpy(X_te)
y_tr = torch.from_numpy(y_tr)  # BUG
# FIX: y_tr = torch.from_numpy(y_tr).unsqueeze(1)
y_te = torch.from_numpy(y_te).unsqueeze(1)

# ---- model: plain tensors
W1 = torch.randn(3, 16) * 0.3
b1 = torch.zeros(16)
W2 = torch.randn(16, 1) * 0.3
b2 = torch.zeros(1)
params = [W1, b1, W2, b2]
for p in params:
    p.requires_grad_(True)


def net(x):
    return torch.relu(x @ W1 + b1) @ W2 + b2


optimizer = torch.optim.SGD(params, lr=0.05, momentum=0.9)

# ---- training
for step in range(60):
    pick = torch.randint(0, len(X_tr), (32,))
    optimizer.zero_grad()
    loss = F.smooth_l1_loss(net(X_tr[pick]), y_tr[pick])  # BUG
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(step, float(loss.detach()))

with torch.no_grad():
    rmse = F.mse_loss(net(X_te), y_te).sqrt()
print("test rmse (standardised):", rmse.item())
