"""Backward is called on a copy of the loss that has no graph.

What it finds:
    `torch.tensor(loss, requires_grad=True).backward()`, also through `Variable(loss.data, requires_grad=True)`.

Why:
    `requires_grad=True` quietens the error that a loss has no graph. The gradient ends at the copy; no parameter
    gets one.

How sure:
    The tensor that backward is called on is made in the same function by `torch.tensor`, from something that is not
    a literal.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Const, Sequence, Tensor

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
value = model(torch.rand(8, 4)).mean()
loss = torch.tensor(value, requires_grad=True)
loss.backward()  # <- TW321
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
loss = model(torch.rand(8, 4)).mean()
loss.backward()
x = torch.tensor(2.0, requires_grad=True)
(x * x).backward()
"""


@rule(code="TW321", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what backward is called on."""
    for call in analysis.calls("torch.Tensor.backward"):
        owner = call.owner
        made = owner.made_by if isinstance(owner, Tensor) else None
        if made is None or made.name not in ("torch.tensor", "torch.as_tensor") or not made.args:
            continue
        if made.constant(None, "requires_grad") is not True or made.result is not owner:
            continue
        first = made.args[0]
        if isinstance(first, Const | Sequence):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="the loss is a copy without a graph, so no parameter gets a gradient",
            evidence=(Evidence("the copy is made here", analysis.place(made.node, made.context)),),
            fix="Call backward on the loss itself; do not wrap it in `torch.tensor`.",
        )
