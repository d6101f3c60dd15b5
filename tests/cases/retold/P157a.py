"""Sequence tagging trainer with a running meter."""
from dataclasses import dataclass

import torch
import torch.nn as nn


@dataclass
class Options:
    vocab: int = 512
    dim: int = 64
    tags: int = 8
    steps: int = 12
    log_every: int = 4


class Meter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.total, self.n = 0.0, 0

    def update(self, value):
        self.total += float(value)  # BUG
        # FIX: self.total = self.total + value.detach()
        self.n += 1

    @property
    def avg(self):
        return float(self.total / max(self.n, 1))


class Tagger(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.emb = nn.Embedding(o.vocab, o.dim)
        self.rnn = nn.GRU(o.dim, o.dim, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * o.dim, o.tags)

    def forward(self, ids):
        return self.out(self.rnn(self.emb(ids))[0])


class Trainer:
    def __init__(self, o):
        self.o = o
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Tagger(o).to(self.device)
        self.optim = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.criterion = nn.CrossEntropyLoss()
        self.ids = torch.randint(o.vocab, (o.steps, 16, 24), device=self.device)
        self.tags = self.ids % o.tags

    def run(self):
        meter = Meter()
        self.model.train()
        for step, (ids, tags) in enumerate(zip(self.ids, self.tags), 1):
            logits = self.model(ids)
            loss = self.criterion(logits.flatten(0, 1), tags.flatten())
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
            meter.update(loss)
            if step % self.o.log_every == 0:
                print(f"step {step} loss {meter.avg:.4f}")
                meter.reset()


if __name__ == "__main__":
    torch.manual_seed(0)
    Trainer(Options()).run()
