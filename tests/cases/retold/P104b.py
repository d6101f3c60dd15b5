"""Self-training of a bigram generator: draw several distinct continuations and learn from the legal ones."""
from functools import partial

import torch
from torch import Tensor, nn

VOCAB = 12


def legal_moves() -> Tensor:
    table = torch.zeros(VOCAB, VOCAB, dtype=torch.bool)
    for a in range(VOCAB):
        for step in range(1, 2 + a % 4):
            table[a, (a + step) % VOCAB] = True
    return table


def draw_distinct(probs: Tensor, k: int) -> Tensor:
    return probs.multinomial(k)  # BUG
    # FIX: return probs.multinomial(min(k, int(probs.count_nonzero())))


def propose(logits: Tensor, legal: Tensor, sampler) -> Tensor:
    probs = logits.masked_fill(~legal, float("-inf")).softmax(dim=-1)
    return sampler(probs)


def main() -> None:
    torch.manual_seed(5)
    legal = legal_moves()
    model = nn.Sequential(nn.Embedding(VOCAB, 16), nn.Linear(16, VOCAB))
    opt = torch.optim.Adam(model.parameters(), lr=0.02)
    sampler = partial(draw_distinct, k=3)
    model.train()
    for it in range(60):
        current = torch.randint(0, VOCAB, (8,))
        with torch.no_grad():
            logits = model(current)
            picks = [propose(row, legal[c], sampler) for row, c in zip(logits, current)]
        source = torch.cat([c.expand(len(p)) for c, p in zip(current, picks)])
        target = torch.cat(picks)
        loss = nn.functional.cross_entropy(model(source), target)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        mass = (model(torch.arange(VOCAB)).softmax(-1) * legal).sum(-1).mean()
    print(f"loss {loss.item():.4f}, probability on legal moves {mass.item():.3f}")


if __name__ == "__main__":
    main()
