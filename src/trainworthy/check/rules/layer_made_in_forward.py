"""A layer with parameters is made in each forward pass.

What it finds:
    `nn.Linear(...)(x)`, `nn.Dropout(0.5)(x)` or a norm, constructed and called inside of `forward`.

Why:
    Its weights are drawn again in each call and are in no optimizer; a dropout made here is always active, whatever
    `model.eval()` says.

How sure:
    The construction is called in the same expression, or is a variable that is only called. Layers that hold
    nothing, such as `nn.ReLU()(x)`, are not reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.queries import PARAMETRISED, once_per_place
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Instance

BAD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = nn.Dropout(0.5)(self.linear(x))  # <- TW306
        return x
"""

GOOD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.dropout(self.linear(x))
        return nn.ReLU()(x)
"""


_STATEFUL = PARAMETRISED | {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"}


@rule(code="TW306", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at constructions within forward that are called at once."""
    for call in once_per_place(iter(analysis.method_calls("__call__"))):
        function = call.context.function
        if function is None or function.owner is None or not _in_forward(call.context):
            continue
        made = call.owner.made_by if isinstance(call.owner, Instance) else None
        last = call.name.split(".")[-2] if call.name.startswith("torch.nn.") else ""
        if made is None or last not in _STATEFUL or not _is_new(analysis, made, call) or not is_module(call.owner):
            continue
        if "Dropout" in last and _follows_mode(made.node):
            continue
        yield Hit(
            place=analysis.place(made.node, call.context),
            message=f"a new {last} is made in every forward pass",
            fix="Make it in `__init__`.",
        )


def _in_forward(context: Context) -> bool:
    """Say whether something runs in a forward method, or in a method that one calls."""
    around = [context, *(caller.context for caller in context.callers)]
    return any(one.function is not None and one.function.name == "forward" for one in around)


def _is_new(analysis: Analysis, made: Call, call: Call) -> bool:
    """Say whether a layer is made by the function that calls it, and kept under a local name at most."""
    if made.node is _unmoved(call.node.func):
        return True
    function = made.context.function
    if function is None or function is not call.context.function or not isinstance(call.node.func, ast.Name):
        return False
    return any(
        isinstance(one, ast.Assign)
        and _unmoved(one.value) is made.node
        and all(isinstance(t, ast.Name) for t in one.targets)
        for one in walk(function.node)
    )


def _unmoved(node: ast.expr) -> ast.expr:
    """Return what `.to(device)`, `.cuda()` and the like are called on."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MOVES:
        node = node.func.value
    return node


_MOVES = ("to", "cuda", "cpu", "float", "double", "half", "train", "type")


def _follows_mode(node: ast.Call) -> bool:
    return any(getattr(one, "attr", "") == "training" for one in walk(node))
