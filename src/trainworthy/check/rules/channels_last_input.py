"""Images with their channels last go into a convolution that takes them first.

What it finds:
    The first convolution gets the model's own input of shape (N, H, W, C): dimensions 1 and 2 equal and at least 8, the
    last one 1, 3 or 4; or both at least 16, and the last one 3.

Why:
    The convolution then slides over width and colour, and takes rows for channels.

How sure:
    Sure of the shape. A feature map of 4 columns with as many channels as rows would look the same.
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
model = nn.Sequential(nn.Conv2d(16, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 16 * 3, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(4):
    x, y = torch.randn(5, 16, 16, 3), torch.randint(2, (5,))  # <- TW151
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 16 * 16, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(4):
    x, y = torch.randn(5, 16, 16, 3).permute(0, 3, 1, 2), torch.randint(2, (5,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


_SURELY_PIXELS = 16


@rule(code="TW151", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first such input."""
    for seen in facts.inputs:
        if seen.into == "conv2d" and len(seen.shape) == 4:
            _, height, width, channels = seen.shape
            square = height == width >= 8 and channels in (1, 3, 4)
            if square or (min(height, width) >= _SURELY_PIXELS and channels == 3):
                yield Hit(
                    place=seen.made_at or seen.place,
                    message=f"The first convolution gets {seen.shape}: {height} channels of {width} x "
                    f"{channels} pixels",
                    evidence=(Evidence("the model is called here", seen.place),) if seen.made_at is not None else (),
                    fix="x.permute(0, 3, 1, 2) turns (N, H, W, C) into (N, C, H, W).",
                )
                return
