"""The optimizer gets a new parameter that is made of a tensor, and the loss uses the tensor.

What it finds:
    `Adam([nn.Parameter(self.log_alpha)])` or `ParameterList([self.log_alpha])` handed on at once, where
    `self.log_alpha` is a plain tensor with `requires_grad=True` that is read elsewhere.

Why:
    `nn.Parameter(x)` and `ParameterList` make a new leaf. Gradients go to the tensor, the optimizer waits for those of
    its own, and steps without any.

How sure:
    The tensor is made with a gradient of its own, the new parameter is kept under no name, and the tensor is read
    somewhere else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
from torch import nn


class Temperature:
    def __init__(self):
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.optimizer = torch.optim.Adam([nn.Parameter(self.log_alpha)])  # <- TW349

    def update(self, entropy):
        self.optimizer.zero_grad()
        (self.log_alpha.exp() * entropy).mean().backward()
        self.optimizer.step()
"""

GOOD = """\
import torch
from torch import nn


class Temperature:
    def __init__(self):
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.log_alpha])

    def update(self, entropy):
        self.optimizer.zero_grad()
        (self.log_alpha.exp() * entropy).mean().backward()
        self.optimizer.step()
"""

_WRAPS = frozenset({"Parameter", "ParameterList", "ParameterDict"})


@rule(code="TW349", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at parameters that are made within another call."""
    words = analysis.source.words
    if "torch" not in words or not {"requires_grad", "requires_grad_"} & words or not words & _WRAPS:
        return
    for call in analysis.nodes.get(ast.Call, []):
        name = _wrapped(call)
        if name is None or not _is_handed_on(analysis, call):
            continue
        made = _made(analysis, name)
        reads = [one for one in analysis.nodes.get(type(name), []) if unparsed(one) == unparsed(name)
                 and isinstance(getattr(one, "ctx", None), ast.Load) and one is not name]  # fmt: skip
        if made is not None and reads:
            yield Hit(
                place=analysis.place(call),
                message=f"this is a new parameter: gradients go to `{unparsed(name)}`, which is another tensor",
                evidence=(Evidence("the tensor", analysis.place(made)),),
                fix=f"Hand on `{unparsed(name)}` itself, or make it a parameter where it is made.",
            )


def _wrapped(call: ast.AST) -> ast.Name | ast.Attribute | None:
    """Return the one tensor that a call makes a parameter of."""
    if not isinstance(call, ast.Call) or unparsed(call.func).rpartition(".")[2] not in _WRAPS or len(call.args) != 1:
        return None
    given = call.args[0]
    if isinstance(given, ast.List | ast.Tuple) and len(given.elts) == 1:
        given = given.elts[0]
    return given if isinstance(given, ast.Name | ast.Attribute) else None


def _is_handed_on(analysis: Analysis, call: ast.AST) -> bool:
    """Say whether a value goes into another call at once, as an argument or in a list."""
    parent = analysis.parents.get(call)
    while isinstance(parent, ast.List | ast.Tuple | ast.Dict | ast.keyword):
        parent = analysis.parents.get(parent)
    func = unparsed(parent.func).rpartition(".")[2] if isinstance(parent, ast.Call) else ""
    return bool(func) and func not in ("setattr", "register_parameter", "append", "Parameter", "extend", "init")


def _made(analysis: Analysis, name: ast.expr) -> ast.Assign | None:
    """Return the assignment that makes a tensor with a gradient of its own."""
    text = unparsed(name)
    for one in analysis.nodes.get(ast.Assign, []):
        if isinstance(one, ast.Assign) and text in [unparsed(target) for target in one.targets]:
            value = one.value
            while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and not value.args:
                value = value.func.value
            func = value.func if isinstance(value, ast.Call) else None
            makes = isinstance(func, ast.Attribute) and library_of(analysis.source, func.value) == "torch"
            if makes and re.search(r"requires_grad(=True|_\(\))", unparsed(one.value)):
                return one
    return None
