"""A module's own running statistics also move in evaluation.

What it finds:
    A `forward` that updates a buffer named for a running or moving average in place, or by a decay, and never asks for
    `self.training`.

Why:
    Validation and test data change what the model computes afterwards. A model that is evaluated twice gives two
    results, and one that serves drifts with what it sees.

How sure:
    The update stands in `forward` or in a method that only `forward` calls, nothing around it is a condition on the
    mode or a switch, and the module has no mode of its own. Counts of batches are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
from torch import nn


class Normaliser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))

    def forward(self, x):
        self.running_mean.mul_(0.9).add_(0.1 * x.detach().mean(0))  # <- TW388
        return x - self.running_mean
"""

GOOD = """\
import torch
from torch import nn


class Normaliser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(width))

    def forward(self, x):
        if self.training:
            self.running_mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return x - self.running_mean
"""

_AVERAGES = re.compile(r"(^|_)(running|moving|ema)_(mean|var|variance|std|avg|average|cov|norm|scale|max|min|loss|sum)|"
                       r"(^|_)(mean|var|std|avg)_ema$|^ema_(count|weight|cluster|embed)")  # fmt: skip
_UPDATES = frozenset({"mul_", "lerp_", "copy_", "add_"})
_MODE = re.compile(
    r"training|track|update|freeze|frozen|eval|calib|is_train|mode|requires_grad|grad_enabled|init|inference"
)


@rule(code="TW388", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what modules do to their buffers in `forward`."""
    words = analysis.source.words
    if not {"torch", "register_buffer", "forward"} <= words or not any(map(_AVERAGES.search, words)):
        return
    for cls in analysis.nodes.get(ast.ClassDef, []):
        methods = {one.name: one for one in getattr(cls, "body", []) if isinstance(one, ast.FunctionDef)}
        forward = methods.get("forward")
        if forward is None or any("training" in unparsed(one) or name == "eval" for name, one in methods.items()):
            continue
        for one in walk(forward):
            name = _updated(one)
            if name and _is_a_buffer(cls, name) and not _is_conditional(analysis, one, forward):
                yield Hit(
                    place=analysis.place(one),
                    message=f"`self.{name}` also moves in evaluation: nothing here asks for `self.training`",
                    evidence=(Evidence("the module", analysis.place(forward.args)),),
                    fix="Update it under `if self.training:`.",
                )


def _updated(node: ast.AST) -> str:
    """Return the average that a statement moves; "" if it does not."""
    if isinstance(node, ast.Expr):
        call = node.value
        while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            name = _own(call.func.value)
            if call.func.attr in _UPDATES and name:
                return name
            call = call.func.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        name = _own(node.targets[0])
        reads = [one for one in nodes_of(node.value, ast.Attribute) if _own(one) == name]
        scaled = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult) for one in walk(node.value))
        return name if name and reads and scaled else ""
    return ""


def _own(node: ast.expr) -> str:
    """Return the average that an attribute of self is."""
    while isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "data"):
        node = node.value
    mine = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if mine and isinstance(node, ast.Attribute) and _AVERAGES.search(node.attr) else ""


def _is_a_buffer(cls: ast.AST, name: str) -> bool:
    return any(
        isinstance(one, ast.Call) and getattr(one.func, "attr", "") == "register_buffer" and bool(one.args)
        and isinstance(one.args[0], ast.Constant) and one.args[0].value == name
        for one in walk(cls)
    )  # fmt: skip


def _is_conditional(analysis: Analysis, node: ast.AST, forward: ast.AST) -> bool:
    while node is not forward and node in analysis.parents:
        node = analysis.parents[node]
        if isinstance(node, ast.If | ast.IfExp | ast.While) and _MODE.search(unparsed(node.test)):
            return True
        if isinstance(node, ast.If):
            return True
    return False
