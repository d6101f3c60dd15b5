"""Binary cross-entropy with logits of numbers that went through a sigmoid.

What it finds:
    `BCEWithLogitsLoss` or its function, whose input is the result of a sigmoid or softmax.

Why:
    The loss applies the sigmoid itself. Twice, probabilities stay between 0.5 and 0.73.

How sure:
    The activation is found in the source.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import BCE_LOGITS
from trainworthy.check.static.values import Tensor

BAD = """\
import torch
import torch.nn as nn

net = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
criterion = nn.BCEWithLogitsLoss()
loss = criterion(net(torch.rand(8, 4)), torch.rand(8, 1))  # <- TW202
"""

GOOD = """\
import torch
import torch.nn as nn

net = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
criterion = nn.BCELoss()
loss = criterion(net(torch.rand(8, 4)), torch.rand(8, 1))
"""


@rule(code="TW202", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses whose input carries an activation."""
    for call in analysis.calls(*BCE_LOGITS):
        value = call.argument(0, "input")
        if not isinstance(value, Tensor) or value.activation not in ("sigmoid", "softmax"):
            continue
        evidence: tuple[Evidence, ...] = ()
        if value.made_by is not None:
            evidence = (
                Evidence(f"the {value.activation} is here", analysis.place(value.made_by.node, value.made_by.context)),
            )
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"the loss applies a sigmoid to the result of a {value.activation}",
            evidence=evidence,
            fix="Remove the activation, or use `BCELoss`.",
        )
