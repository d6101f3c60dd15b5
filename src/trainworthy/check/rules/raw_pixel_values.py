"""Raw pixel values from 0 to 255 go into a convolution.

What it finds:
    A convolution gets the model's own floating-point input with 1, 3 or 4 channels: whole numbers only, none below 0,
    the largest above 64 and at most 255.

Why:
    Initialisation and learning rates are made for inputs near one. Training is slow or does not begin.

How sure:
    Sure of the values. Silent if the model scales its input first. Normalisation right after the first layer makes it
    harmless.
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
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
for step in range(4):
    x, y = torch.randint(256, (5, 3, 8, 8)).float(), torch.randint(2, (5,))  # <- TW550
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
for step in range(4):
    x, y = torch.randint(256, (5, 3, 8, 8)).float() / 255, torch.randint(2, (5,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW550", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield inputs that were so in two steps."""
    found = [
        i for i in facts.inputs
        if i.into is not None and len(i.shape) == 4 and i.shape[1] in (1, 3, 4) and i.integral
        and (i.minimum or 0) >= 0 and 64 < (i.maximum or 0) <= 255
    ]  # fmt: skip
    if len({i.step for i in found}) >= min(2, max(facts.num_steps, 1)) and found:
        first = found[0]
        yield Hit(
            place=first.made_at or first.place,
            message=f"A convolution gets raw pixels: {first.shape} of whole numbers from {first.minimum:.0f} to "
            f"{first.maximum:.0f}",
            evidence=(Evidence("the model is called here", first.place),) if first.made_at is not None else (),
            fix="Divide by 255, and subtract the mean of the data.",
        )
