"""The graphs of earlier losses are kept.

What it finds:
    At two steps or more, the graphs of three or more losses from at least three steps ago were alive.

Why:
    total += loss, or losses.append(loss), keeps each graph: memory grows with every step.

How sure:
    Sure that they were alive: a token in each graph was.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

total = 0.0
for step in range(12):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()  # <- TW315
    optimizer.step()
    total += loss
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

total, losses = 0.0, []
for step in range(12):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total += loss.item()
    losses.append(loss.detach())
"""


@rule(code="TW315", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield once."""
    if len(facts.kept) >= 2 and facts.kept[-1].alive > facts.kept[0].alive:
        last = facts.kept[-1]
        yield Hit(
            place=last.place,
            message=f"The graphs of {last.alive} losses from at least {last.steps} steps ago are still alive",
            evidence=(Evidence(f"{facts.kept[0].alive} at first, {last.alive} at the end of the look"),),
            fix="Keep numbers: loss.item() or loss.detach().",
        )
