"""A softmax that is not told its axis.

What it finds:
    `F.softmax(x)`, `F.log_softmax(x)`, `nn.Softmax()` and `nn.LogSoftmax()` without `dim`.

Why:
    torch then takes axis 0 for 1 or 3 axes and axis 1 otherwise: of (batch, time, class) it mixes samples of the batch.
    The implicit choice is deprecated and warns.

How sure:
    Certain that the axis is chosen by the rank. A hint where the tensor surely has one or two axes, so that the axis is
    that of the classes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
import torch.nn as nn

softmax = nn.Softmax()  # <- TW214
y = softmax(torch.rand(4, 7, 10))
"""

GOOD = """\
import torch
import torch.nn as nn

softmax = nn.Softmax(dim=-1)
y = softmax(torch.rand(4, 7, 10))
"""


@rule(code="TW214", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at modules and functions."""
    functions = ("torch.nn.functional.softmax", "torch.nn.functional.log_softmax")
    for call in once_per_place(analysis.calls(*functions, "torch.nn.Softmax", "torch.nn.LogSoftmax")):
        if call.has(1 if call.name in functions else 0, "dim"):
            continue
        function = call.context.function
        names = bindings_of(function.node) if function and isinstance(function.node, Def) else None
        is_sure = call.name in functions and call.node.args and _axes(analysis, names, call.node.args[0]) in (1, 2)
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="without `dim`, the softmax takes axis 0 of 1 or 3 axes, and axis 1 otherwise",
            fix="Pass `dim=`.",
            severity="hint" if is_sure else None,
        )


def _axes(analysis: Analysis, names: Bindings | None, node: ast.expr, depth: int = 12) -> int | None:
    """Return how many axes a tensor has by what makes it, through layers and functions that keep them."""
    if not depth:
        return None
    if isinstance(node, ast.Name):
        above = names.value_before(node) if names is not None else None
        return _axes(analysis, names, above, depth - 1) if above is not None else None
    if isinstance(node, ast.BinOp):
        sides = [_axes(analysis, names, one, depth - 1) for one in (node.left, node.right)]
        return max((one for one in sides if one is not None), default=None)
    if not isinstance(node, ast.Call) or any(isinstance(one, ast.Starred) for one in node.args):
        return None
    method = last_name(node.func)
    if method in ("mv", "mm"):
        return 1 if method == "mv" else 2
    if method in ("view", "reshape") and isinstance(node.func, ast.Attribute) and not node.keywords:
        sizes = node.args[1:] if unparsed(node.func.value) == "torch" else node.args
        if len(sizes) == 1:
            return len(sizes[0].elts) if isinstance(sizes[0], ast.Tuple | ast.List) else None
        return len(sizes) or None
    if _keeps_axes(analysis, node) and node.args:
        return _axes(analysis, names, node.args[0], depth - 1)
    if isinstance(node.func, ast.Attribute) and method in _KEEP and not node.args:
        return _axes(analysis, names, node.func.value, depth - 1)
    return None


_KEEP = frozenset(
    "relu leaky_relu elu gelu silu tanh sigmoid dropout contiguous float cuda detach clone linear".split()
)
_LAYERS = re.compile(r"\b(Linear|ReLU|LeakyReLU|ELU|GELU|SiLU|Tanh|Sigmoid|Dropout|BatchNorm1d|LayerNorm)\(")


def _keeps_axes(analysis: Analysis, call: ast.Call) -> bool:
    """Say whether a call is of a function of numbers one by one, or of an attribute that is such a layer."""
    if last_name(call.func) in _KEEP:
        return True
    made = [one.value for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign)
            and any(unparsed(target) == unparsed(call.func) for target in one.targets)]  # fmt: skip
    return bool(made) and all(_LAYERS.match(unparsed(one).rpartition("nn.")[2]) for one in made)
