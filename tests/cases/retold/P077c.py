"""Causal character model with fused attention."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEXT = "the quick brown fox jumps over the lazy dog and runs away from the quick brown cat. " * 12


class CausalAttention(nn.Module):
    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.sdpa_options = {"is_causal": True, "dropout_p": drop}

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(x).chunk(3, dim=-1))
        options = self.sdpa_options  # BUG
        # FIX: options = dict(self.sdpa_options)
        if not self.training:
            options.update(dropout_p=0.0)  # BUG
        y = F.scaled_dot_product_attention(q, k, v, **options)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class CharModel(nn.Module):
    def __init__(self, vocab: int, block: int, width: int = 32, depth: int = 2, drop: float = 0.2) -> None:
        super().__init__()
        self.tok = nn.Embedding(vocab, width)
        self.pos = nn.Embedding(block, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.attns = nn.ModuleList(CausalAttention(width, 4, drop) for _ in range(depth))
        self.final = nn.LayerNorm(width)
        self.lm = nn.Linear(width, vocab, bias=False)
        self.lm.weight = self.tok.weight  # tied
        nn.init.normal_(self.tok.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tok(ids) + self.pos(torch.arange(ids.size(1), device=ids.device))
        for norm, attn in zip(self.norms, self.attns):
            x = x + attn(norm(x))
        return self.lm(self.final(x))


def windows(data: Tensor, block: int, n: int) -> tuple[Tensor, Tensor]:
    at = torch.randint(0, len(data) - block - 1, (n,))
    grid = at[:, None] + torch.arange(block)
    return data[grid], data[grid + 1]


def lm_loss(model: CharModel, ids: Tensor, nxt: Tensor) -> Tensor:
    return F.cross_entropy(model(ids).flatten(0, 1), nxt.flatten())


def main() -> None:
    torch.manual_seed(13)
    chars = sorted(set(TEXT))
    data = torch.tensor([chars.index(c) for c in TEXT])
    cut = int(0.9 * len(data))
    train, val = data[:cut], data[cut:]
    block = 24
    model = CharModel(len(chars), block)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(4):
        model.train()
        for _ in range(10):
            loss = lm_loss(model, *windows(train, block, 16))
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val_loss = lm_loss(model, *windows(val, block, 16))
        print(f"epoch {epoch} train {loss.item():.3f} val {val_loss.item():.3f}")


if __name__ == "__main__":
    main()
