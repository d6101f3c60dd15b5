"""Images are enlarged more than fourfold before the model gets them.

What it finds:
    `F.interpolate` outside of any module with parameters, of four-dimensional data without gradient, that makes both
    sides more than four times as long; also in a data set whose loader has no workers, where `resize` of a PIL image
    counts, too.

Why:
    Steps cost as many times more as there are pixels more, and no pixel says anything new: 32 x 32 images at 256 x
    256 cost 64 times as much.

How sure:
    Sure of the sizes. A hint: models that were trained at a resolution may want it, and super-resolution starts like
    this.
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
model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x = nn.functional.interpolate(torch.rand(4, 3, 16, 16), size=(96, 96))  # <- TW566
    loss = nn.functional.cross_entropy(model(x), torch.randint(2, (4,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.Upsample(scale_factor=8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x = nn.functional.interpolate(torch.rand(4, 3, 16, 16), size=(32, 32))
    loss = nn.functional.cross_entropy(model(x), torch.randint(4, (4,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW566", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line that did so."""
    for place in dict.fromkeys(u.place for u in facts.upscaled):
        first = next(u for u in facts.upscaled if u.place == place)
        before, after = first.before[2:], first.after[2:]
        more = after[0] * after[1] / (before[0] * before[1])
        yield Hit(
            place=place,
            message=f"images of {before[0]} x {before[1]} are enlarged to {after[0]} x {after[1]}: {more:.0f} "
            f"times the "
            "pixels",
            fix="Train at the resolution of the data, or at what the model was trained at.",
        )
