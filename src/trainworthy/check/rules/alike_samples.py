"""All samples of a batch are equal.

What it finds:
    In three steps, all samples of what the model is given are equal to one another, and not constant.

Why:
    The data set returns the same item for each index, or a batch was expanded instead of drawn.

How sure:
    Sure. Synthetic data of zeros or ones is not reported.
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

for step in range(5):
    x, y = torch.randn(1, 4).expand(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)  # <- TW551
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

for step in range(5):
    x, y = torch.ones(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW551", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that got such batches in three steps."""
    given = [i for i in facts.inputs if i.into is None]
    for place in dict.fromkeys(i.place for i in given):
        found = [i for i in given if i.place == place]
        if len({i.step for i in found if i.samples_alike}) >= 3 and all(i.samples_alike for i in found):
            yield Hit(
                place=place,
                message=f"All {found[0].shape[0]} samples of the batch are equal, in {len(found)} steps",
                fix="Look at the data set's __getitem__, and for expand or repeat on the batch.",
            )
