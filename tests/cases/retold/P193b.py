from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Shape(NamedTuple):
    batch: int = 16
    seq: int = 32
    dim: int = 64
    layers: int = 2
    vocab: int = 128


def matmul_params(s: Shape) -> int:
    """Weights that take part in a matrix product (12 d^2 per layer, and the output layer)."""
    return 12 * s.dim ** 2 * s.layers + s.dim * s.vocab


def train_flops_per_step(s: Shape) -> float:
    """FLOPs of forward and backward (the backward costs twice the forward), attention scores included."""
    attention = 2 * s.seq * s.dim * s.layers
    flops_per_token = 3 * (matmul_params(s) + attention)  # BUG
    # FIX: flops_per_token = 3 * 2 * (matmul_params(s) + attention)
    return float(flops_per_token * s.batch * s.seq)


class LM(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.emb = nn.Embedding(s.vocab, s.dim)
        layer = nn.TransformerEncoderLayer(s.dim, 4, 4 * s.dim,
                                           dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, s.layers, enable_nested_tensor=False)
        self.out = nn.Linear(s.dim, s.vocab, bias=False)
        self.register_buffer("causal", nn.Transformer.generate_square_subsequent_mask(s.seq))

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.body(self.emb(ids), mask=self.causal))


def main() -> None:
    torch.manual_seed(0)
    s = Shape()
    model = LM(s)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    peak = 50e9         # FLOP/s of this machine, from its data sheet
    model.train()
    for step in range(6):
        start = time.perf_counter()
        ids = torch.randint(s.vocab, (s.batch, 1)) + torch.arange(s.seq + 1)
        ids = ids % s.vocab
        loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 3 == 2:
            mfu = train_flops_per_step(s) / (time.perf_counter() - start) / peak
            print(f"step {step} loss {loss.item():.3f} mfu {mfu:.2%}")


if __name__ == "__main__":
    main()
