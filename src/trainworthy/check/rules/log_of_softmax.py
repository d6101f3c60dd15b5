"""The logarithm of a softmax, in two steps.

What it finds:
    `torch.log(softmax(x))` and `softmax(x).log()`.

Why:
    Small probabilities round to 0 and their logarithm is -inf; `log_softmax` subtracts before it exponentiates.

How sure:
    A hint: nothing happens as long as no probability underflows.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Tensor

BAD = """\
import torch

x = torch.rand(4, 10)
y = torch.log(torch.softmax(x, dim=1))  # <- TW213
"""

GOOD = """\
import torch

x = torch.rand(4, 10)
y = torch.log_softmax(x, dim=1)
safe = torch.log(torch.softmax(x, dim=1) + 1e-9)
"""


@rule(code="TW213", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at logarithms."""
    for call in once_per_place(analysis.calls("torch.log", "torch.Tensor.log")):
        value = call.argument(0, "input") if call.name == "torch.log" else call.owner
        if isinstance(value, Tensor) and value.activation == "softmax":
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the logarithm of a softmax is -inf where a probability underflows",
                fix="Use `log_softmax`.",
            )
