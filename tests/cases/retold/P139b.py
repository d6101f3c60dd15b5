"""Distil a frozen half-precision decoder into a small fp32 student; prompts are padded on the left."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, DIM, LEN, PAD = 24, 32, 10, 0
NEG = -1e9  # BUG
# FIX: NEG = torch.finfo(torch.float16).min


def attention_bias(tokens: Tensor, dtype: torch.dtype) -> Tensor:
    n = tokens.shape[1]
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    blocked = future | (tokens == PAD)[:, None, :]
    bias = torch.zeros(blocked.shape, dtype=dtype)
    bias[blocked] = NEG  # BUG
    return bias


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(DIM)
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.out = nn.Linear(DIM, DIM)

    def forward(self, h: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self.qkv(self.ln(h)).chunk(3, dim=-1)
        w = F.softmax(q @ k.mT * DIM ** -0.5 + bias, dim=-1)
        return h + self.out(w @ v)


class Decoder(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(VOCAB, DIM)
        self.blocks = nn.ModuleList(Block() for _ in range(depth))
        self.head = nn.Linear(DIM, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.emb(tokens)
        bias = attention_bias(tokens, h.dtype)
        for block in self.blocks:
            h = block(h, bias)
        return self.head(h)


def left_padded_batch(n: int) -> Tensor:
    tokens = torch.randint(1, VOCAB, (n, LEN))
    lengths = torch.randint(4, LEN + 1, (n, 1))
    return tokens.masked_fill(torch.arange(LEN) < LEN - lengths, PAD)


def main() -> None:
    torch.manual_seed(0)
    teacher = Decoder(depth=2).half().eval().requires_grad_(False)
    student = Decoder(depth=1)
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    student.train()
    for step in range(30):
        tokens = left_padded_batch(32)
        real = tokens != PAD
        with torch.no_grad():
            target = teacher(tokens).float().softmax(-1)
        logp = student(tokens).log_softmax(-1)
        loss = F.kl_div(logp[real], target[real], reduction="batchmean")
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 0:
            print(f"step {step} kl {loss.item():.4f}")


if __name__ == "__main__":
    main()
