"""More is drawn without replacement than there is.

What it finds:
    `torch.multinomial` without replacement whose weights have fewer values above 0 than samples are drawn.

Why:
    On the CPU it then returns indices of weight 0 without an error; on a GPU it may fail.

How sure:
    Sure of the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
table = nn.Embedding(8, 4)
optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
weights = torch.tensor([0.0, 0, 1, 0, 0, 1, 0, 0])
for step in range(4):
    drawn = torch.multinomial(weights, 3)  # <- TW562
    loss = table(drawn).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
table = nn.Embedding(8, 4)
optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
weights = torch.tensor([0.0, 0, 1, 0, 0, 1, 0, 0])
for step in range(4):
    drawn = torch.multinomial(weights, 2)
    loss = table(drawn).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW562", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line that did so."""
    for place in dict.fromkeys(d.place for d in facts.draws):
        first = next(d for d in facts.draws if d.place == place)
        yield Hit(
            place=place,
            message=f"multinomial draws {first.wanted} without replacement from {first.available} weights "
            f"above 0: indices "
            "of weight 0 come out",
            fix="Draw at most as many as there are, or replacement=True.",
        )
