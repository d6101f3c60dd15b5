# A two-layer net from scratch, spirals data
import numpy as np
import torch

rng = np.random.RandomState(0)
device = "cuda" if torch.cuda.is_available() else "cpu"

n, k = 100, 3
t = np.linspace(0, 1, n)
points, labels = [], []
for c in range(k):
    theta = 4 * t + 2 * np.pi * c / k + rng.normal(scale=0.1, size=n)
    points.append(np.stack([t * np.sin(theta), t * np.cos(theta)], axis=1))
    labels.append(np.full(n, c))


def to_t(a):
    return torch.from_numpy(a).to(device)  # BUG
    # FIX: return torch.from_numpy(a.astype(np.float32)).to(device)


def glorot(n_in, n_out):
    return rng.randn(n_in, n_out) * np.sqrt(2.0 / (n_in + n_out))


X = to_t(np.concatenate(points))
y = torch.from_numpy(np.concatenate(labels)).long().to(device)

W1, b1 = to_t(glorot(2, 64)).requires_grad_(), to_t(np.zeros(64)).requires_grad_()
W2, b2 = to_t(glorot(64, k)).requires_grad_(), to_t(np.zeros(k)).requires_grad_()
params = [W1, b1, W2, b2]


def forward(x):
    h = torch.relu(x @ W1 + b1)
    return h @ W2 + b2


lr = 1.0
for it in range(100):
    loss = torch.nn.functional.cross_entropy(forward(X), y)
    grads = torch.autograd.grad(loss, params)
    with torch.no_grad():
        for p, g in zip(params, grads):
            p -= lr * g
    if it % 25 == 0:
        print(it, float(loss))

with torch.no_grad():
    print("acc", (forward(X).argmax(1) == y).float().mean().item())
