"""Cross-entropy takes targets for probabilities that are none.

What it finds:
    Float targets of the shape of the scores, so that cross-entropy reads them as probabilities, and rows whose sums
    are more than 0.05 from 1, in two steps.

Why:
    For several labels at once, binary cross-entropy is meant: cross-entropy of rows that sum to 3 weighs such samples
    three times, and one of all zeros not at all.

How sure:
    Sure of the sums. Label smoothing and mixup sum to 1; weights that are meant as such are not told apart.
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
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    y = (torch.rand(8, 3) > 0.5).float()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), y)  # <- TW265
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    y = nn.functional.one_hot(torch.randint(3, (8,)), 3) * 0.9 + 0.1 / 3
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW265", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses whose targets were so in two steps."""
    for place in dict.fromkeys(t.place for t in facts.soft_targets):
        found = [t for t in facts.soft_targets if t.place == place and t.off_by > 0.05]
        if len({t.step for t in found}) >= 2:
            worst = max(t.off_by for t in found)
            yield Hit(
                place=place,
                message=f"float targets of {found[0].shape} are taken for probabilities, and rows are up to "
                f"{worst:.3g} "
                "away from a sum of 1",
                fix="binary_cross_entropy_with_logits for several labels; class numbers (int64) for one.",
            )
