"""Domain adversarial training (DANN) between two synthetic sensor domains."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F


class ReverseGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, lam):
        ctx.lam = lam
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.lam * grad, None


class DANN(nn.Module):
    def __init__(self, n_in=10, width=32, n_activities=4):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.activity = nn.Linear(width, n_activities)
        self.domain = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x, lam):
        z = self.features(x)
        return self.activity(z), self.domain(ReverseGrad.apply(z, lam))


def domain_loss(domain_logits, is_source):
    """cross entropy of the two-way domain head"""
    side = 1 if is_source else 0
    where = torch.full_like(domain_logits, side)  # BUG
    # FIX: where = domain_logits.new_full((domain_logits.size(0),), side, dtype=torch.long)
    return F.cross_entropy(domain_logits, where)  # BUG


def sensor_batch(n, shift, gen):
    y = torch.randint(0, 4, (n,), generator=gen)
    x = torch.randn(n, 10, generator=gen)
    x[torch.arange(n), y] += 2.5
    return x + shift, y


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iters", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--domain-weight", type=float, default=0.3)
    opt = parser.parse_args()

    torch.manual_seed(21)
    gen = torch.Generator().manual_seed(22)
    shift = torch.linspace(-1, 1, 10)
    model = DANN()
    optimizer = torch.optim.Adam(model.parameters(), lr=opt.lr)

    for it in range(opt.iters):
        model.train()
        lam = 2.0 / (1.0 + torch.exp(torch.tensor(-10.0 * it / opt.iters)).item()) - 1.0
        xs, ys = sensor_batch(opt.batch_size, 0.0, gen)
        xt, _ = sensor_batch(opt.batch_size, shift, gen)  # no labels in the target domain
        act, dom_s = model(xs, lam)
        _, dom_t = model(xt, lam)
        task = F.cross_entropy(act, ys)
        adv = 0.5 * (domain_loss(dom_s, True) + domain_loss(dom_t, False))
        loss = task + opt.domain_weight * adv
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (it + 1) % 20 == 0:
            print(f"iter {it + 1} task {task.item():.3f} domain {adv.item():.3f}")

    model.eval()
    with torch.no_grad():
        xt, yt = sensor_batch(400, shift, gen)
        print("target acc", (model(xt, 0.0)[0].argmax(1) == yt).float().mean().item())


if __name__ == "__main__":
    main()
