"""BatchNorm layers are frozen, and their statistics move all the same.

What it finds:
    BatchNorm layers whose weight and bias have requires_grad=False, and whose running mean changed in two steps or
    more,
    in a model that trains otherwise.

Why:
    requires_grad does not stop the running statistics: in training mode the frozen part changes with every batch.

How sure:
    Sure that they moved. Some methods (momentum encoders, adaptation to a new domain) want it so.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
for p in model[:2].parameters():
    p.requires_grad_(False)
optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)  # <- TW358
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
for p in model[:2].parameters():
    p.requires_grad_(False)
optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)
for step in range(5):
    model.train()
    model[1].eval()
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW358", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the layers together."""
    for fact in facts.norm_drifts:
        yield Hit(
            place=fact.place,
            message=f"{len(fact.names)} BatchNorm layer{'s' * (len(fact.names) > 1)} with frozen weights moved "
            "their running "
            f"statistics in {fact.steps} steps: {listed(fact.names)}",
            fix="Put them into evaluation mode after each model.train(): for m in frozen: m.eval().",
        )
