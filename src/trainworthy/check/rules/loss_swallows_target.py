"""A loss is called with one argument.

What it finds:
    `criterion(net(x, y))` where `criterion` is one of torch's losses that compare two tensors.

Why:
    A parenthesis stands too late: the target goes into the model, and the loss misses one.

How sure:
    Certain: the call raises TypeError.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import chain

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_loss_module
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch.nn as nn

net = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()


def step(x, y):
    return criterion(net(x, y))  # <- TW207
"""

GOOD = """\
import torch.nn as nn

net = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()


def step(x, y):
    return criterion(net(x), y)
"""


_FUNCTIONS = ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy",
              "binary_cross_entropy_with_logits", "kl_div", "huber_loss")  # fmt: skip


@rule(code="TW207", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of losses."""
    functions = analysis.calls(*(f"torch.nn.functional.{name}" for name in _FUNCTIONS))
    modules = (call for call in analysis.method_calls("__call__") if is_loss_module(call.owner))
    for call in once_per_place(chain(modules, functions)):
        if call.starred or len(call.args) != 1 or call.keywords:
            continue
        inner = call.node.args[0] if call.node.args else None
        if isinstance(inner, ast.Call):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the loss gets one argument; its target went into the call inside",
                fix="Close the inner parenthesis earlier: `criterion(net(x), y)`.",
            )
