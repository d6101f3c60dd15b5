"""A parameter is used through `.data` in a forward pass, so it never learns.

What it finds:
    `self.weight.data` as an operand or an argument in a method of a module, where `self.weight` is an `nn.Parameter`.

Why:
    `.data` is outside of autograd: the parameter gets no gradient from there, and the optimizer leaves it as it was
    made.

How sure:
    The attribute is surely a parameter that wants gradients, and its numbers go into an arithmetic operation. Silent
    within `no_grad`, in `__init__` and in methods named for initialisation, and where `.data` is written or measured.

When it is wrong:
    The parameter also goes into the loss without `.data`, and is meant to be a constant here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Const, Instance, Value

BAD = """\
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 100, 8))

    def forward(self, x):
        return x + self.positions.data[:, : x.shape[1], :]  # <- TW346
"""

GOOD = """\
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 100, 8))
        self.positions.data.normal_(0, 0.02)

    def forward(self, x):
        if self.positions.data.abs().max() > 100:
            print("large")
        return x + self.positions[:, : x.shape[1], :]
"""

_NO_GRAD = ("torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled")


@rule(code="TW346", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at `.data` of parameters below an arithmetic operator."""
    operands = _operands(analysis)
    seen = set()
    for load in analysis.loads:
        function = load.context.function
        if (
            load.node.attr != "data"
            or load.node not in operands
            or load.node in seen
            or not _wants_gradients(load.owner)
        ):
            continue
        if function is None or function.owner is None or function.name != "forward" or load.context.under(*_NO_GRAD):
            continue
        if not is_module(function.owner.prototype or Instance("")):
            continue
        seen.add(load.node)
        name = unparsed(load.node.value)
        yield Hit(
            place=analysis.place(load.node, load.context),
            message=f"`{name}` is a parameter; through `.data` it gets no gradient",
            fix=f"Write `{name}`.",
        )


def _operands(analysis: Analysis) -> set[ast.AST]:
    """Return the operands of arithmetic, what stands before their brackets included."""
    found: set[ast.AST] = set()
    for node in analysis.nodes.get(ast.BinOp, ()):
        for operand in (node.left, node.right):  # type: ignore[attr-defined]
            inner = operand
            while isinstance(inner, ast.Subscript):
                inner = inner.value
            found.add(inner)
    return found


def _wants_gradients(value: Value) -> bool:
    if not isinstance(value, Instance) or value.type not in ("torch.nn.Parameter", "torch.nn.parameter.Parameter"):
        return False
    wants = value.made_by.argument(1, "requires_grad") if value.made_by is not None else None
    return wants is None or (isinstance(wants, Const) and wants.value is True)
