"""Features are divided by their own norm, sum or deviation with the integer division.

What it finds:
    `x // x.norm(dim=1, keepdim=True)`, `x // x.sum()`, `(x - x.mean()) // x.std()`, also through a name.

Why:
    `//` rounds down: of numbers that are at most their norm, -1, 0 and 1 remain. Nothing fails.

How sure:
    What is divided is what the norm, deviation, sum or maximum is of. In Python 3 `/` never rounds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of, subject
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch

x = torch.rand(8, 16)
x = x // x.norm(p=2, dim=1, keepdim=True)  # <- TW228
"""

GOOD = """\
import torch

x = torch.rand(8, 16)
x = x / x.norm(p=2, dim=1, keepdim=True)
"""

_SIZES = frozenset({"norm", "vector_norm", "std", "sum", "max", "amax"})
_AROUND = frozenset({"clamp", "clamp_min", "unsqueeze", "expand_as", "view", "reshape", "clip", "maximum", "item"})


@rule(code="TW228", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at integer divisions."""
    if not analysis.source.words & {"torch", "numpy"} or "//" not in analysis.source.code:
        return
    for node in [*analysis.nodes.get(ast.BinOp, ()), *analysis.nodes.get(ast.AugAssign, ())]:
        if not isinstance(node, ast.BinOp | ast.AugAssign) or not isinstance(node.op, ast.FloorDiv):
            continue
        above, below = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)
        if isinstance(below, ast.Constant):
            continue
        size = _size(below, scope_of(node, analysis.parents))
        of = subject(size) if size is not None else None
        if size is not None and of is not None and _is_of(above, of):
            yield Hit(
                place=analysis.place(node),
                message=f"`//` rounds down: of `{unparsed(above)}` over its `{called(size)}` -1, 0 and 1 remain",
                fix="Divide by `/`.",
            )


def _size(node: ast.expr, scope: ast.AST) -> ast.Call | None:
    """Return the norm, deviation or sum that something is, perhaps with an epsilon or another shape."""
    node = followed(node, scope)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _size(node.left, scope) or _size(node.right, scope)
    if not isinstance(node, ast.Call):
        return None
    if called(node) in _SIZES:
        return node
    inner = subject(node) if called(node) in _AROUND else None
    return None if inner is None else _size(inner, scope)


def _is_of(above: ast.expr, of: ast.expr) -> bool:
    """Say whether what is divided is what the size is of, or its distance from the mean."""
    written = unparsed(of)
    if unparsed(above) == written:
        return True
    centred = isinstance(above, ast.BinOp) and isinstance(above.op, ast.Sub) and unparsed(above.left) == written
    return centred and any(called(one) in ("mean", "min", "amin") for one in walk(above))
