from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

VOCAB = 40


class NegativeSamplingPairs(Dataset):
    """Skip-gram pairs with random negatives."""

    def __init__(self, corpus: list[int], window: int, k: int) -> None:
        self.pairs = [(corpus[i], corpus[i + d]) for i in range(len(corpus) - window) for d in range(1, window + 1)]
        self.k = k
        self.draw = random.Random(2024).randrange  # BUG
        # FIX: self._rng: random.Random | None = None

    # FIX+: def draw(self, stop: int) -> int:
    # FIX+:     if self._rng is None:
    # FIX+:         self._rng = random.Random(torch.initial_seed())
    # FIX+:     return self._rng.randrange(stop)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> tuple[int, int, Tensor]:
        centre, context = self.pairs[i]
        negatives = torch.tensor([self.draw(VOCAB) for _ in range(self.k)])
        return centre, context, negatives


class SkipGram(nn.Module):
    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.inp, self.out = nn.Embedding(VOCAB, dim), nn.Embedding(VOCAB, dim)

    def forward(self, centre: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
        v = self.inp(centre).unsqueeze(1)
        pos = (v * self.out(context).unsqueeze(1)).sum(-1)
        neg = (v * self.out(negatives)).sum(-1)
        return -(nn.functional.logsigmoid(pos).mean() + nn.functional.logsigmoid(-neg).sum(1).mean())


if __name__ == "__main__":
    torch.manual_seed(0)
    text = [int(w) for w in (torch.arange(300) * 3 % VOCAB)]
    loader = DataLoader(NegativeSamplingPairs(text, 2, 4), batch_size=32, shuffle=True, num_workers=2)
    model = SkipGram()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    model.train()
    for epoch in range(2):
        for centre, context, negatives in loader:
            loss = model(centre, context, negatives)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, round(loss.item(), 4))
