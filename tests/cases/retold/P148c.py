# deep MLP classifier, parameters in plain lists (functional style)
import math
import torch
import torch.nn.functional as F

torch.manual_seed(13)
SIZES = [20] + [64] * 10 + [5]


def init_layer(n_in, n_out, gen, init_std=0.01):  # BUG
# FIX: def init_layer(n_in, n_out, gen):
    w = torch.empty(n_out, n_in).normal_(0.0, init_std, generator=gen)  # BUG
    # FIX: w = torch.empty(n_out, n_in).normal_(0.0, math.sqrt(2.0 / n_in), generator=gen)
    b = torch.zeros(n_out)
    return w.requires_grad_(), b.requires_grad_()


def init_params(sizes, seed=0):
    gen = torch.Generator().manual_seed(seed)
    return [init_layer(i, o, gen) for i, o in zip(sizes[:-1], sizes[1:])]


def forward(params, x):
    *hidden, last = params
    for w, b in hidden:
        x = F.relu(F.linear(x, w, b))
    return F.linear(x, *last)


def batches(x, y, size):
    order = torch.randperm(len(x))
    for idx in order.split(size):
        yield x[idx], y[idx]


def loss_fn(params, x, y):
    return F.cross_entropy(forward(params, x), y)


n = 400
labels = torch.randint(5, (n,))
inputs = torch.randn(5, 20)[labels] + 0.4 * torch.randn(n, 20)
scale = math.sqrt(inputs.pow(2).mean().item())
inputs = inputs / scale

params = init_params(SIZES)
flat = [t for pair in params for t in pair]
optimizer = torch.optim.SGD(flat, lr=0.004, momentum=0.9)

for epoch in range(6):
    total = 0.0
    for xb, yb in batches(inputs, labels, 40):
        loss = loss_fn(params, xb, yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(xb)
    print(f"epoch {epoch}: {total / n:.4f}")

with torch.no_grad():
    acc = (forward(params, inputs).argmax(1) == labels).float().mean()
print("fit accuracy", round(acc.item(), 3))
