from __future__ import annotations

from typing import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def batches(x: Tensor, y: Tensor, size: int, gen: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(x.shape[0], generator=gen)
    for chunk in order.split(size):
        yield x[chunk], y[chunk]


def make_member(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 2))


def mean_and_var(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    mean, raw = net(x).chunk(2, dim=1)
    return mean, F.softplus(raw) + 1e-3


def nll(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    mean, var = mean_and_var(net, x)
    return F.gaussian_nll_loss(input=mean, target=y, var=var)  # BUG
    # FIX: return F.gaussian_nll_loss(input=mean.squeeze(1), target=y, var=var.squeeze(1))


def train(net: nn.Module, objective: Callable[[nn.Module, Tensor, Tensor], Tensor], x: Tensor,
          y: Tensor, epochs: int, gen: torch.Generator) -> float:
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    net.train()
    value = torch.zeros(())
    for _ in range(epochs):
        for xb, yb in batches(x, y, 25, gen):
            opt.zero_grad()
            value = objective(net, xb, yb)
            value.backward()
            opt.step()
    return value.item()


def main() -> None:
    gen = torch.Generator().manual_seed(0)
    x = torch.rand(100, 1, generator=gen) * 6 - 3
    y = (torch.sin(x) + 0.1 * torch.randn(100, 1, generator=gen))[:, 0]
    ensemble = [make_member(s) for s in range(3)]
    for k, net in enumerate(ensemble):
        print(f"member {k}: final nll {train(net, nll, x, y, 10, gen):.3f}")

    grid = torch.linspace(-3, 3, 7)[:, None]
    with torch.no_grad():
        stats = [mean_and_var(net.eval(), grid) for net in ensemble]
    mu = torch.stack([m for m, _ in stats])  # (members, grid, 1)
    total = torch.stack([v for _, v in stats]).mean(0) + mu.var(0, unbiased=False)
    print(mu.mean(0).flatten().tolist())
    print(total.flatten().tolist())


if __name__ == "__main__":
    main()
