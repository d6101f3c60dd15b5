"""The logarithm of a layer's output is taken, which may be negative.

What it finds:
    `torch.log(x)`, `x.log()` or `torch.sqrt(x)` where `x` is what a linear layer or a convolution gives, or a
    part of it.

Why:
    The output of a layer without an activation has either sign: the logarithm of a negative number is NaN, and with it
    the loss and every weight. A layer that shall give a log-variance can give it as it is.

How sure:
    The layer is made in the same class, and nothing between it and the logarithm makes numbers positive: `exp`,
    `softplus`, `sigmoid`, `relu`, `abs`, a square, a clamp, a sum with something.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of, subject
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 8)

    def forward(self, x):
        x = self.layer(x)
        return x[:, :4], torch.log(x[:, 4:])  # <- TW239
"""

GOOD = """\
import torch


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(16, 8)

    def forward(self, x):
        x = self.layer(x)
        return x[:, :4], x[:, 4:]
"""

_LAYERS = frozenset("Linear LazyLinear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d".split())
_SAME = frozenset(
    "view reshape squeeze unsqueeze flatten chunk split transpose permute contiguous float unbind narrow t to".split()
)


@rule(code="TW239", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at logarithms and square roots in classes with layers."""
    if not analysis.source.words & {"log", "log2", "log10", "sqrt"} or not analysis.source.words & _LAYERS:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) not in ("log", "log2", "log10", "sqrt"):
            continue
        of = subject(node)
        scope = scope_of(node, analysis.parents)
        cls = analysis.parents.get(scope)
        if of is None or not isinstance(cls, ast.ClassDef) or _is_of_math(node):
            continue
        made = _layer(of, scope, _layers_of(cls))
        if made is not None:
            yield Hit(
                place=analysis.place(node),
                message=f"what the layer gives may be negative: its `{called(node)}` is NaN",
                evidence=(Evidence("the layer is called here", analysis.place(made)),),
                fix="Let the layer give the logarithm, or put `softplus` or `exp` between.",
            )


def _is_of_math(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and unparsed(node.func.value) in ("math", "np", "numpy", "logger")


@lru_cache(maxsize=256)
def _layers_of(cls: ast.ClassDef) -> frozenset[str]:
    """Return the attributes of a class that are layers without an activation, and nothing else."""
    found: dict[str, bool] = {}
    for node in walk(cls):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
                found[target.attr] = found.get(target.attr, True) and _is_layer(node.value)
    return frozenset(name for name, sure in found.items() if sure)


def _is_layer(node: ast.expr) -> bool:
    if called(node) == "Sequential" and isinstance(node, ast.Call) and node.args and not node.keywords:
        return _is_layer(node.args[-1])
    return called(node) in _LAYERS and isinstance(node, ast.Call) and "nn." in unparsed(node.func)


def _layer(node: ast.expr, scope: ast.AST, layers: frozenset[str], depth: int = 6) -> ast.Call | None:
    """Return the call of a layer that an expression is a part or view of."""
    node = followed(node, scope, 1)
    if depth == 0:
        return None
    if isinstance(node, ast.Name):
        unpacked = _unpacked(scope, node)
        return None if unpacked is None else _layer(unpacked, scope, layers, depth - 1)
    if isinstance(node, ast.Subscript):
        return _layer(node.value, scope, layers, depth - 1)
    if not isinstance(node, ast.Call):
        return None
    func = node.func
    if isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == "self" and func.attr in layers:
        return node
    inner = subject(node) if called(node) in _SAME else None
    return None if inner is None else _layer(inner, scope, layers, depth - 1)


def _unpacked(scope: ast.AST, name: ast.Name) -> ast.expr | None:
    """Return what is taken apart into several names, one of which is asked for, if it is bound nowhere else."""
    bound = [one for one in nodes_of(scope, ast.Name) if one.id == name.id and isinstance(one.ctx, ast.Store)]
    for node in walk(scope) if len(bound) == 1 else ():
        taken = isinstance(node, ast.Assign) and called(node.value) in ("chunk", "split", "unbind")
        if taken and isinstance(node, ast.Assign) and bound[0] in getattr(node.targets[0], "elts", ()):
            return node.value
    return None
