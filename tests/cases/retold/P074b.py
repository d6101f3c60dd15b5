from __future__ import annotations

from typing import Callable

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]


def inference(fn: Callable) -> Callable:
    """Run a method of a module-holding object for measurement only."""

    def wrapped(self, *args, **kwargs):
        # FIX+: self.net.eval()
        with torch.inference_mode():  # BUG
            result = fn(self, *args, **kwargs)
        # FIX+: self.net.train()
        return result

    return wrapped


class IntentClassifier(nn.Module):
    def __init__(self, vocab: int, n_intents: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, 32, padding_idx=0)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(32, n_intents)

    def forward(self, input_ids: Tensor) -> Tensor:
        mask = (input_ids != 0).unsqueeze(-1).float()
        pooled = (self.embed(input_ids) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.fc(self.dropout(pooled))


class Engine:
    def __init__(self, net: nn.Module, lr: float) -> None:
        self.net = net
        self.opt = torch.optim.Adam(net.parameters(), lr=lr)

    def train_one_epoch(self, batches: list[Batch]) -> float:
        self.net.train()
        total = 0.0
        for b in batches:
            loss = nn.functional.cross_entropy(self.net(b["input_ids"]), b["labels"])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            total += loss.item()
        return total / len(batches)

    @inference
    def accuracy(self, batches: list[Batch]) -> float:
        hits = torch.cat([self.net(b["input_ids"]).argmax(-1) == b["labels"] for b in batches])
        return hits.float().mean().item()


def make_batches(n: int, key: Tensor) -> list[Batch]:
    out = []
    for _ in range(n):
        ids = torch.randint(1, 60, (16, 9))
        ids[:, 6:] *= torch.randint(0, 2, (16, 1))
        out.append({"input_ids": ids, "labels": key[ids[:, 0]]})
    return out


if __name__ == "__main__":
    torch.manual_seed(4)
    key = torch.randint(0, 5, (60,))
    train, held_out = make_batches(15, key), make_batches(4, key)
    engine = Engine(IntentClassifier(60, 5), lr=2e-2)
    for ep in range(4):
        print(ep, round(engine.train_one_epoch(train), 4), round(engine.accuracy(held_out), 3))
