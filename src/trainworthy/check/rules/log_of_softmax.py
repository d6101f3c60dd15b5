"""The logarithm of a softmax or sigmoid, in two steps.

What it finds:
    `torch.log(softmax(x))`, `softmax(x).log()` and the same of a sigmoid.

Why:
    Small probabilities round to 0 and their logarithm is -inf; `log_softmax` subtracts before it exponentiates, and
    `logsigmoid` never forms the probability.

How sure:
    A hint: nothing happens as long as no probability underflows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, subject
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

_BOUNDED = frozenset("arange linspace clamp clamp_ clip hardtanh tanh cosine_similarity".split())


@rule(code="TW213", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at logarithms."""
    said: set[ast.AST] = set()
    for call in analysis.calls("torch.log", "torch.Tensor.log"):  # of several ways one may be known
        value = call.argument(0, "input") if call.name == "torch.log" else call.owner
        if call.node in said or not isinstance(value, Tensor) or value.activation not in ("softmax", "sigmoid"):
            continue
        if not _is_bounded(value):
            said.add(call.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the logarithm of a {value.activation} is -inf where a probability underflows",
                fix="Use `log_softmax`." if value.activation == "softmax" else "Use `logsigmoid`.",
            )


def _is_bounded(value: Tensor) -> bool:
    """Say whether a sigmoid is taken of what cannot be large: a table, or what was cut off."""
    of = None if value.made_by is None else subject(value.made_by.node)
    return value.activation == "sigmoid" and of is not None and called(of) in _BOUNDED
