"""Layers that `train()` freezes are trained: it was never called.

What it finds:
    A model in training mode whose class overrides `train`, with parameters that get gradients, and that `train()` would
    freeze. Found by calling it on a copy.

Why:
    Backbones freeze their first stages in `train()`, as `frozen_stages=1` asks them to. A new module is in training
    mode already, so a loop without `model.train()` trains what was to be frozen.

How sure:
    Sure. The copy is made once, after the first step; models above 512 MiB, or with hooks, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def train(self, mode=True):
        super().train(mode)
        self.stem.requires_grad_(False)
        return self

    def forward(self, x):
        return self.head(self.stem(x).relu())


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    scores = model(torch.randn(8, 4))  # <- TW335
    loss = nn.functional.cross_entropy(scores, torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def train(self, mode=True):
        super().train(mode)
        self.stem.requires_grad_(False)
        return self

    def forward(self, x):
        return self.head(self.stem(x).relu())


model = Net().train()
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
for step in range(3):
    scores = model(torch.randn(8, 4))
    loss = nn.functional.cross_entropy(scores, torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW335", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models whose freezing is not in force."""
    for fact in facts.unapplied_freezes:
        at = fact.defined_at
        yield Hit(
            place=fact.place,
            message=f"{len(fact.names)} parameters train that {fact.class_name}.train() would freeze: "
            f"{listed(fact.names)}",
            evidence=(Evidence("train() is defined here", at),) if at else (),
            fix="Call model.train() before the first step; or freeze in __init__ too.",
        )
