"""A loss ignores all of its targets.

What it finds:
    In two steps or more, every target of a cross_entropy was ignore_index.

Why:
    The mean over nothing is NaN; the sum is 0 and teaches nothing.

How sure:
    Sure.
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
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.full((8,), -100)
    loss = nn.functional.cross_entropy(model(x), y, reduction="sum")  # <- TW255
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    y[:4] = -100
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW255", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses that had nothing to count in two steps."""
    for place in dict.fromkeys(t.place for t in facts.targets):
        found = [t for t in facts.targets if t.place == place]
        empty = [t for t in found if t.num_counted == 0]
        if len({t.step for t in empty}) >= 2:
            yield Hit(
                place=place,
                message=f"In {len(empty)} of {len(found)} calls, all {empty[0].num_targets} targets were "
                f"ignore_index ({empty[0].ignore_index})",
                fix="Look at how labels are masked: is the prompt the whole sample, or cut so that no answer is left?",
            )
