# two-layer network by hand, wine-like table
import torch

torch.manual_seed(0)
X = torch.randn(150, 7)
y = ((X[:, 0] * X[:, 1] > 0).long() + (X[:, 2] > 0.8).long())

n_in, n_hid, n_out = 7, 40, 3
W1 = torch.full((n_in, n_hid), 0.1)  # BUG
# FIX: W1 = torch.randn(n_in, n_hid) * (2.0 / n_in) ** 0.5
b1 = torch.zeros(n_hid)
W2 = torch.full((n_hid, n_out), 0.1)  # BUG
# FIX: W2 = torch.randn(n_hid, n_out) * (1.0 / n_hid) ** 0.5
b2 = torch.zeros(n_out)
theta = [t.requires_grad_() for t in (W1, b1, W2, b2)]
optim = torch.optim.Adam(theta, lr=0.02)

for epoch in range(60):
    optim.zero_grad()
    hid = torch.relu(X @ W1 + b1)
    loss = torch.nn.functional.cross_entropy(hid @ W2 + b2, y)
    loss.backward()
    optim.step()
    if epoch % 20 == 0:
        print(f"{epoch:3d} {loss.item():.4f}")
with torch.no_grad():
    acc = ((torch.relu(X @ W1 + b1) @ W2 + b2).argmax(1) == y).float().mean()
print(f"train accuracy {acc.item():.3f}")
