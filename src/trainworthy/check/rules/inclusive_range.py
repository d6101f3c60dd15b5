"""`torch.range` includes its end.

What it finds:
    Calls of `torch.range`.

Why:
    `torch.range(0, 12)` has 13 elements. It is deprecated since torch 0.4.

How sure:
    Certain.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

x = torch.range(0, 12)  # <- TW105
"""

GOOD = """\
import torch

x = torch.arange(0, 12)
"""


@rule(code="TW105", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls("torch.range")):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="`torch.range` includes its end and is deprecated",
            fix="Use `torch.arange` and say where to stop.",
        )
