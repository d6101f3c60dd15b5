from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    sigma: float = 3.0
    lr: float = 1e-2
    steps: int = 60
    look_back: int = 12


def smooth_l1(pred: Tensor, target: Tensor, sigma: float) -> Tensor:
    s2 = sigma ** 2
    x = (pred - target).abs()
    near = (x < 1.0 / s2).to(x.dtype).detach()
    quad = 0.5 * (s2 * x) ** 2  # BUG
    # FIX: quad = 0.5 * (sigma * x) ** 2
    lin = x - 0.5 / s2
    return (near * quad + (1.0 - near) * lin).mean()


def windows(series: Tensor, k: int) -> tuple[Tensor, Tensor]:
    frames = series.unfold(0, k + 1, 1)
    return frames[:, :k], frames[:, k:]


def build(k: int) -> nn.Module:
    return nn.Sequential(nn.Linear(k, 24), nn.SiLU(), nn.Linear(24, 1))


def run(cfg: Config) -> None:
    torch.manual_seed(0)
    t = torch.arange(400, dtype=torch.float32)
    load = torch.sin(t / 6) + 0.3 * torch.sin(t / 2.5) + 0.03 * torch.randn(400)
    load[::50] += 3.0                                    # meter spikes
    x, y = windows(load, cfg.look_back)
    xtr, ytr, xva, yva = x[:300], y[:300], x[300:], y[300:]
    net = build(cfg.look_back)
    opt = torch.optim.Adam(net.parameters(), lr=cfg.lr)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, cfg.steps)
    for step in range(cfg.steps):
        net.train()
        idx = torch.randint(0, 300, (64,))
        loss = smooth_l1(net(xtr[idx]), ytr[idx], cfg.sigma)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
    net.eval()
    with torch.no_grad():
        print(f"train {loss.item():.4f} val L1 {(net(xva) - yva).abs().mean().item():.4f}")


if __name__ == "__main__":
    run(Config())
