"""Train a small cross-attention reader in float32, then score passages with half weights."""
import math

import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self, vocab: int = 60, dim: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, vocab)
        self.register_buffer("big_neg", torch.tensor(-1e9), persistent=False)  # BUG
        # FIX:

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, question: torch.Tensor, passage: torch.Tensor) -> torch.Tensor:
        hq, hp = self.emb(question), self.emb(passage)
        q, k, v = self.split(self.q(hq)), self.split(self.k(hp)), self.split(self.v(hp))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        hidden = (passage == 0)[:, None, None, :]
        scores = scores + hidden.to(scores.dtype) * self.big_neg  # BUG
        # FIX: scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        ctx = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.out(self.norm(hq + ctx)).mean(1)


def batch(n: int, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    key = torch.randint(1, 20, (n,), generator=gen)
    question = torch.stack([key, key + 20], 1)
    passage = torch.randint(40, 60, (n, 10), generator=gen)
    length = torch.randint(3, 11, (n, 1), generator=gen)
    answer = torch.randint(40, 60, (n,), generator=gen)
    passage[:, 1], passage[:, 0] = key, answer
    passage[torch.arange(10)[None] >= length] = 0
    return question, passage, answer


def main() -> None:
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(0)
    model = Reader()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for step in range(40):
        question, passage, answer = batch(64, gen)
        loss = nn.functional.cross_entropy(model(question, passage), answer)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 13 == 0:
            print(f"step {step} loss {loss.item():.3f}")

    model.eval()
    model.half()
    with torch.inference_mode():
        question, passage, answer = batch(256, gen)
        logits = model(question, passage)
    hits = (logits.argmax(-1) == answer).float().mean().item()
    print(f"half precision: top-1 {hits:.3f}, mean logit {logits.float().mean().item():.3f}")


if __name__ == "__main__":
    main()
