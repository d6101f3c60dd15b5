from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Shadow:
    """Exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.net = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for s, p in zip(self.net.parameters(), model.parameters()):  # BUG
            s.lerp_(p, 1.0 - self.decay)
        # FIX+: for s, b in zip(self.net.buffers(), model.buffers()):
        # FIX+:     s.copy_(b)


def build(n_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
                         nn.Linear(width, 1))


@torch.no_grad()
def mae(net: nn.Module, x: Tensor, y: Tensor) -> float:
    return (net(x) - y).abs().mean().item()


def main() -> None:
    torch.manual_seed(14)
    raw = 5.0 + 4.0 * torch.randn(512, 12)          # un-normalised tabular input, the model has a BN
    price = raw[:, :3].mean(1, keepdim=True)
    model = build(12, 64)
    ema = Shadow(model, decay=0.9)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(5):
        model.train()
        for idx in torch.randperm(448).split(64):
            loss = nn.functional.l1_loss(model(raw[idx]), price[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update(model)
    model.eval()
    print(f"model {mae(model, raw[448:], price[448:]):.3f}  ema {mae(ema.net, raw[448:], price[448:]):.3f}")


if __name__ == "__main__":
    main()
