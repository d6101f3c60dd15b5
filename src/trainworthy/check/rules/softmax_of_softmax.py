"""A softmax of numbers that went through a softmax.

What it finds:
    `softmax` or `log_softmax` of the result of a softmax, or of `Categorical(...).probs`, followed through variables,
    views, functions and modules of the project.

Why:
    The second softmax takes probabilities for logits: what comes out is nearly uniform, and the logarithm of it is not
    the log-probability of anything.

How sure:
    Both are found in the source with nothing but changes of form in between. A second log-softmax changes nothing and
    is not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Tensor, Value

BAD = """\
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

logits = torch.rand(8, 4)
policy = Categorical(logits=logits)
action = policy.sample()
log_probability = F.log_softmax(policy.probs, dim=1)  # <- TW215
"""

GOOD = """\
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

logits = torch.rand(8, 4)
policy = Categorical(logits=logits)
action = policy.sample()
log_probability = F.log_softmax(logits, dim=1)
"""

_FUNCTIONS = tuple(
    f"{library}.{name}"
    for library in ("torch", "torch.nn.functional", "torch.Tensor")
    for name in ("softmax", "log_softmax")
)
_MODULES = ("torch.nn.Softmax.__call__", "torch.nn.LogSoftmax.__call__")


@rule(code="TW215", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what every softmax gets."""
    for call in once_per_place(analysis.calls(*_FUNCTIONS, *_MODULES)):
        value = softmax_input(call)
        if isinstance(value, Tensor) and value.activation == "softmax" and call.context.source is analysis.source:
            made = value.made_by
            where = () if made is None else (Evidence("the first", analysis.place(made.node, made.context)),)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the input went through a softmax already",
                evidence=where,
                fix="Apply it to the logits.",
            )


def softmax_input(call: Call) -> Value | None:
    """Return what a softmax, as a function, method or module, gets."""
    return call.owner if call.name.startswith("torch.Tensor.") else call.argument(0, "input")
