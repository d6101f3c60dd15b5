"""KL divergence whose input is probabilities instead of their logarithm.

What it finds:
    `KLDivLoss` or `F.kl_div` whose first argument is the result of a softmax.

Why:
    The input is taken as log-probabilities, whatever `log_target` says; of probabilities the value can be negative and
    means nothing.

How sure:
    The activation is found in the source.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import KL_DIV
from trainworthy.check.static.values import Tensor

BAD = """\
import torch
import torch.nn.functional as F

student, teacher = torch.rand(8, 10), torch.rand(8, 10)
loss = F.kl_div(F.softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")  # <- TW204
"""

GOOD = """\
import torch
import torch.nn.functional as F

student, teacher = torch.rand(8, 10), torch.rand(8, 10)
loss = F.kl_div(F.log_softmax(student, dim=1), F.softmax(teacher, dim=1), reduction="batchmean")
"""


@rule(code="TW204", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the first argument."""
    for call in analysis.calls(*KL_DIV):
        value = call.argument(0, "input")
        if isinstance(value, Tensor) and value.activation in ("softmax", "sigmoid"):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"kl_div takes its input as log-probabilities and gets the result of a {value.activation}",
                fix="Use `log_softmax` for the first argument.",
            )
