"""Functional training step with manual micro-batching (activations do not fit otherwise)."""
import torch
import torch.nn.functional as F

MICRO = 4


def init_params(sizes, gen):
    params = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:]):
        w = torch.randn(fan_out, fan_in, generator=gen) * (2.0 / fan_in) ** 0.5
        params += [w.requires_grad_(), torch.zeros(fan_out, requires_grad=True)]
    return params


def apply(params, x):
    layers = list(zip(params[::2], params[1::2]))
    for w, b in layers[:-1]:
        x = F.relu(F.linear(x, w, b))
    w, b = layers[-1]
    return F.linear(x, w, b)


def mean_loss(params, x, y):
    return F.cross_entropy(apply(params, x), y)


def batch_gradient(params, x, y, n_micro=MICRO):
    grads = [torch.zeros_like(p) for p in params]
    total = 0.0
    for xm, ym in zip(x.chunk(n_micro), y.chunk(n_micro)):
        loss = mean_loss(params, xm, ym)
        new = torch.autograd.grad(loss, params)
        grads = [g + d for g, d in zip(grads, new)]  # BUG
        # FIX: grads = [g + d / n_micro for g, d in zip(grads, new)]
        total += loss.item() / n_micro
    return total, grads


@torch.no_grad()
def sgd_momentum(params, grads, velocity, lr=0.05, mu=0.9):
    for p, g, v in zip(params, grads, velocity):
        v.mul_(mu).add_(g)
        p.sub_(lr * v)


def main():
    gen = torch.Generator().manual_seed(0)
    centers = torch.randn(5, 16, generator=gen) * 2
    y = torch.randint(5, (1024,), generator=gen)
    x = centers[y] + torch.randn(1024, 16, generator=gen)
    params = init_params([16, 64, 64, 5], gen)
    velocity = [torch.zeros_like(p) for p in params]

    for step in range(24):
        idx = torch.randint(896, (128,), generator=gen)
        loss, grads = batch_gradient(params, x[idx], y[idx])
        sgd_momentum(params, grads, velocity)
        if step % 6 == 5:
            with torch.no_grad():
                acc = (apply(params, x[896:]).argmax(1) == y[896:]).float().mean().item()
            print(f"step {step + 1}: loss {loss:.3f} held-out acc {acc:.3f}")


if __name__ == "__main__":
    main()
