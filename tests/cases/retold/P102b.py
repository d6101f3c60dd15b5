"""Masked language modelling on tiny token lists, plain functions."""
import copy
import random
from typing import List, Tuple

import torch
from torch import Tensor, nn

PAD, MASK, VOCAB = 0, 1, 40
IGNORE = -100


def make_corpus(n: int) -> List[List[int]]:
    out = []
    for _ in range(n):
        start, length = random.randint(2, 20), random.randint(6, 12)
        out.append([2 + (start + k) % (VOCAB - 2) for k in range(length)])
    return out


def mask_tokens(sentences: List[List[int]], p: float) -> Tuple[List[List[int]], List[List[int]]]:
    """Returns (inputs, targets); targets are IGNORE where nothing was masked."""
    inputs = copy.copy(sentences)  # BUG
    # FIX: inputs = copy.deepcopy(sentences)
    chosen = [[random.random() < p for _ in s] for s in sentences]
    for row, picks in zip(inputs, chosen):
        for j, hit in enumerate(picks):
            if hit:
                row[j] = MASK
    targets = [[t if hit else IGNORE for t, hit in zip(s, picks)] for s, picks in zip(sentences, chosen)]
    return inputs, targets


def pad(rows: List[List[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([r + [value] * (width - len(r)) for r in rows])


class Encoder(nn.Module):
    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.emb = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.rnn = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * dim, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden, _ = self.rnn(self.emb(tokens))
        return self.out(hidden)


def run() -> None:
    random.seed(11)
    torch.manual_seed(11)
    corpus = make_corpus(96)
    model = Encoder()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss_fn = nn.CrossEntropyLoss(ignore_index=IGNORE)
    model.train()
    for epoch in range(4):
        random.shuffle(corpus)
        for i in range(0, len(corpus), 16):
            inputs, targets = mask_tokens(corpus[i:i + 16], p=0.2)
            logits = model(pad(inputs, PAD))
            loss = loss_fn(logits.transpose(1, 2), pad(targets, IGNORE))
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.3f}")


if __name__ == "__main__":
    run()
