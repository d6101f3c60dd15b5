from __future__ import annotations

import torch
from torch import Tensor, nn
import torch.nn.functional as F


def no_peek(n: int) -> Tensor:
    """Boolean (n, n) mask for autoregressive attention, diagonal included in what a bar may see."""
    i = torch.arange(n)
    return i[None, :] > i[:, None]  # BUG
    # FIX: return i[None, :] <= i[:, None]


class PriceModel(nn.Module):
    """Predicts the next return from the past returns."""

    def __init__(self, d: int = 32, heads: int = 4, length: int = 24) -> None:
        super().__init__()
        self.heads = heads
        self.inp = nn.Linear(1, d)
        self.pos = nn.Embedding(length, d)
        self.kv = nn.Linear(d, 2 * d)
        self.q = nn.Linear(d, d)
        self.out = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 1))
        self.register_buffer("visible", no_peek(length), persistent=False)

    def split(self, t: Tensor) -> Tensor:
        return t.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, r: Tensor) -> Tensor:
        n = r.size(1)
        x = self.inp(r.unsqueeze(-1)) + self.pos.weight[:n]
        k, v = self.kv(x).chunk(2, dim=-1)
        a = F.scaled_dot_product_attention(self.split(self.q(x)), self.split(k), self.split(v),
                                           attn_mask=self.visible[:n, :n])
        return self.out(x + a.transpose(1, 2).flatten(2)).squeeze(-1)


def main() -> None:
    torch.manual_seed(8)
    noise = torch.randn(64, 25)
    series = 0.5 * noise[:, :-1] + noise[:, 1:]
    model = PriceModel()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for it in range(20):
        pred = model(series[:48, :-1])
        loss = F.mse_loss(pred, series[:48, 1:])
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        held = F.mse_loss(model(series[48:, :-1]), series[48:, 1:])
    print(f"train {loss.item():.4f} held out {held.item():.4f}")


if __name__ == "__main__":
    main()
