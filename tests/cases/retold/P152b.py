"""Wrapping layers for activation recomputation, then a short translation-like task."""
from typing import Callable

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

V, D, L = 20, 24, 9


def recompute(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def wrapped(x: Tensor) -> Tensor:
        return torch.utils.checkpoint.checkpoint(fn, x, preserve_rng_state=True)  # BUG
        # FIX: return torch.utils.checkpoint.checkpoint(fn, x, preserve_rng_state=True, use_reentrant=False)
    return wrapped


def enable_recompute(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, nn.TransformerEncoderLayer):
            m.forward = recompute(m.forward)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(V, D)
        self.pos = nn.Parameter(0.02 * torch.randn(L, D))
        make = lambda: nn.TransformerEncoderLayer(D, 2, 48, dropout=0.1, batch_first=True)
        self.layers = nn.ModuleList([make(), make()])
        self.out = nn.Linear(D, V)

    def forward(self, idx: Tensor) -> Tensor:
        h = self.emb(idx) + self.pos
        for layer in self.layers:
            h = layer(h)
        return self.out(h)


def main() -> None:
    torch.manual_seed(0)
    model = Tagger()
    enable_recompute(model)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(20):
        src = torch.randint(0, V, (16, L))
        tgt = (src + 7) % V
        loss = nn.functional.cross_entropy(model(src).flatten(0, 1), tgt.flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 5 == 0:
            print(f"step {step} loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
