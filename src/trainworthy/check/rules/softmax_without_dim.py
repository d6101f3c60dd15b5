"""A softmax that is not told its axis.

What it finds:
    `F.softmax(x)`, `F.log_softmax(x)`, `nn.Softmax()` and `nn.LogSoftmax()` without `dim`.

Why:
    torch then takes axis 0 for 1 or 3 axes and axis 1 otherwise: of (batch, time, class) it mixes samples of the batch.
    The implicit choice is deprecated and warns.

How sure:
    Certain that the axis is chosen by the rank.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch
import torch.nn as nn

softmax = nn.Softmax()  # <- TW214
y = softmax(torch.rand(4, 7, 10))
"""

GOOD = """\
import torch
import torch.nn as nn

softmax = nn.Softmax(dim=-1)
y = softmax(torch.rand(4, 7, 10))
"""


@rule(code="TW214", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at modules and functions."""
    functions = ("torch.nn.functional.softmax", "torch.nn.functional.log_softmax")
    for call in once_per_place(analysis.calls(*functions, "torch.nn.Softmax", "torch.nn.LogSoftmax")):
        if call.has(1 if call.name in functions else 0, "dim"):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="without `dim`, the softmax takes axis 0 of 1 or 3 axes, and axis 1 otherwise",
            fix="Pass `dim=`.",
        )
