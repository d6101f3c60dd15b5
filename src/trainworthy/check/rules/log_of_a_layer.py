"""The logarithm of what a layer gives, which may be negative.

What it finds:
    `torch.log(self.linear(x))`, directly, through a slice or in two statements, where the layer is a `Linear` or a
    convolution.

Why:
    Half of the outputs of a fresh layer are negative, and their logarithm is NaN. A network that is to give a variance
    gives its logarithm: nothing has to be taken of it.

How sure:
    Certain: no activation stands between the layer and the logarithm, and nothing is added.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of
from trainworthy.check.static.tree import walk

BAD = """\
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.head = nn.Linear(width, 2 * width)

    def forward(self, x):
        x = self.head(x)
        mean = x[:, : self.width]
        log_variance = torch.log(x[:, self.width :])  # <- TW233
        return mean, log_variance
"""

GOOD = """\
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width
        self.head = nn.Linear(width, 2 * width)

    def forward(self, x):
        x = self.head(x)
        mean = x[:, : self.width]
        log_variance = x[:, self.width :]
        return mean, log_variance
"""

_LAYERS = frozenset({"Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"})
_LOGS = frozenset({"log", "log2", "log10"})


@rule(code="TW233", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at logarithms in the methods of modules."""
    if "torch" not in analysis.source.words or not analysis.source.words & _LOGS:
        return
    for cls in analysis.nodes.get(ast.ClassDef, []):
        layers = _layers(cls)
        for function in functions_of({ast.FunctionDef: list(getattr(cls, "body", []))}) if layers else ():
            names = bindings_of(function)
            for call in names.calls:
                subject = _subject(call)
                layer = _layer_of(names, subject, layers) if subject is not None else None
                if layer is not None:
                    yield Hit(
                        place=analysis.place(call),
                        message=f"`self.{layer}` gives negative numbers as well, whose logarithm is NaN",
                        evidence=(Evidence("the layer", analysis.place(layers[layer])),),
                        fix="Let the layer give the logarithm, or put `softplus` or `exp` between.",
                    )


def _layers(cls: ast.AST) -> dict[str, ast.Assign]:
    """Return the layers without an activation that a class makes, by their attribute; none that is bound twice."""
    found: dict[str, list[ast.Assign]] = {}
    for one in walk(cls):
        target = one.targets[0] if isinstance(one, ast.Assign) else None
        if isinstance(one, ast.Assign) and isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
            found.setdefault(target.attr, []).append(one)
    return {
        name: made[0] for name, made in found.items()
        if len(made) == 1 and isinstance(made[0].value, ast.Call)
        and ast.unparse(made[0].value.func) in {f"{prefix}{one}" for one in _LAYERS for prefix in ("nn.", "torch.nn.")}
    }  # fmt: skip


def _subject(call: ast.Call) -> ast.expr | None:
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr not in _LOGS:
        return None
    if isinstance(func.value, ast.Name) and func.value.id in ("torch", "math", "np", "numpy"):
        return call.args[0] if func.value.id == "torch" and call.args else None
    return func.value


def _layer_of(names: Bindings, node: ast.expr, layers: dict[str, ast.Assign], depth: int = 3) -> str | None:
    """Return the layer whose output an expression is, or a part of."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name) and depth:
        value = names.value_before(node)
        return _layer_of(names, value, layers, depth - 1) if value is not None else None
    func = node.func if isinstance(node, ast.Call) else None
    if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "self":
        return func.attr if func.attr in layers else None
    return None
