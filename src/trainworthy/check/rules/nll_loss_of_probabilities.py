"""Negative log-likelihood of probabilities instead of their logarithm.

What it finds:
    `NLLLoss` or `F.nll_loss` whose input is the result of a softmax or sigmoid.

Why:
    The loss takes log-probabilities and does not apply the logarithm. Of probabilities it is minus the probability.

How sure:
    The activation is found in the source.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import NLL
from trainworthy.check.static.values import Tensor

BAD = """\
import torch
import torch.nn.functional as F

out = F.softmax(torch.rand(8, 10), dim=1)
loss = F.nll_loss(out, torch.randint(0, 10, (8,)))  # <- TW203
"""

GOOD = """\
import torch
import torch.nn.functional as F

out = F.log_softmax(torch.rand(8, 10), dim=1)
loss = F.nll_loss(out, torch.randint(0, 10, (8,)))
again = F.nll_loss(torch.log(F.softmax(out, dim=1)), torch.randint(0, 10, (8,)))  # noqa: TW213
"""


@rule(code="TW203", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses whose input carries an activation."""
    for call in analysis.calls(*NLL):
        value = call.argument(0, "input")
        if isinstance(value, Tensor) and value.activation in ("softmax", "sigmoid"):
            made = value.made_by
            where = None if made is None else analysis.place(made.node, made.context)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"nll_loss gets the result of a {value.activation}, not of a log-softmax",
                evidence=(Evidence(f"the {value.activation} is here", where),),
                fix="Use `log_softmax`, or `cross_entropy` on the logits.",
            )
