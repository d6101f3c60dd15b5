"""Small GPT with scaled residual projections."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, DIM, DEPTH, LEN = 32, 32, 4, 12


def init_weights(m: nn.Module) -> None:
    if isinstance(m, (nn.Linear, nn.Embedding)):
        nn.init.normal_(m.weight, std=0.02)
    if isinstance(m, nn.Linear) and m.bias is not None:
        nn.init.zeros_(m.bias)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.fc, self.out = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)
        self.apply(init_weights)  # BUG
        # FIX:
        for residual in (self.proj, self.out):  # BUG
        # FIX:
            nn.init.normal_(residual.weight, std=0.02 / (2 * DEPTH) ** 0.5)  # BUG
            # FIX:

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.qkv(self.ln1(h)).chunk(3, -1)
        h = h + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return h + self.out(F.gelu(self.fc(self.ln2(h))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCAB, DIM), nn.Embedding(LEN, DIM)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.ln = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, VOCAB, bias=False)
        self.apply(init_weights)  # BUG
        # FIX+: for block in self.blocks:
        # FIX+:     for residual in (block.proj, block.out):
        # FIX+:         nn.init.normal_(residual.weight, std=0.02 / (2 * DEPTH) ** 0.5)

    def forward(self, idx: Tensor) -> Tensor:
        h = self.tok(idx) + self.pos(torch.arange(idx.shape[1], device=idx.device))
        for block in self.blocks:
            h = block(h)
        return self.head(self.ln(h))


def batch(n: int = 24) -> tuple[Tensor, Tensor]:
    seq = (torch.randint(0, VOCAB, (n, 1)) + 5 * torch.arange(LEN + 1)) % VOCAB
    return seq[:, :-1], seq[:, 1:]


def main() -> None:
    torch.manual_seed(0)
    model = GPT()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(30):
        x, y = batch()
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 0:
            print(f"step {step} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
