"""Sums over one axis of which one keeps the axis, and the other does not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, integer, keyword, subject
from trainworthy.check.static.tree import unparsed

_REDUCTIONS = frozenset({"sum", "mean", "amax", "amin", "logsumexp", "prod", "std", "var"})
_MAY_REDUCE = (ast.Call, ast.BinOp)
_KEEPS_SHAPE = frozenset({"clamp", "clamp_min", "clip", "float", "sqrt", "exp", "log", "abs", "clamp_"})


class _Reduction(NamedTuple):
    """What is reduced, how, over which axis, and whether that is kept."""

    of: ast.expr
    by: str
    axis: int
    kept: bool


def met(analysis: Analysis) -> Iterator[tuple[ast.BinOp, int]]:
    """Yield operations of two reductions over the same axis of tensors of the same rank, one of which keeps it."""
    if _REDUCTIONS.isdisjoint(analysis.source.words):
        return
    for node in analysis.nodes.get(ast.BinOp, ()):
        if not isinstance(node, ast.BinOp) or type(node.op) in (ast.MatMult, ast.Mod, ast.Pow):
            continue
        if type(node.left) not in _MAY_REDUCE or type(node.right) not in _MAY_REDUCE:
            continue
        left = _reduced(node.left)
        right = _reduced(node.right) if left is not None else None
        if left is None or right is None or left.kept == right.kept or left.axis != right.axis:
            continue
        if (left.axis == -1 or left.axis >= 1) and _of_one_rank(node, left, right):
            yield node, left.axis


def _reduced(node: ast.expr) -> _Reduction | None:
    """Return what is reduced, over which axis, and whether that is kept; constants and clamps around are left out."""
    while True:
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant | ast.Name):
            if isinstance(node.right, ast.Name) and "eps" not in node.right.id.lower():
                return None
            node = node.left
        elif isinstance(node, ast.Call) and called(node) in _KEEPS_SHAPE and isinstance(on := subject(node), ast.expr):
            node = on
        else:
            break
    if not isinstance(node, ast.Call) or called(node) not in _REDUCTIONS:
        return None
    on, given = subject(node), arguments_after_subject(node)
    axis = keyword(node, "dim", "axis") or (given[0] if given else None)
    kept = keyword(node, "keepdim", "keepdims") or (given[1] if len(given) > 1 else None)
    number = integer(axis)
    if on is None or number is None or (kept is not None and not isinstance(kept, ast.Constant)):
        return None
    return _Reduction(on, called(node), number, isinstance(kept, ast.Constant) and kept.value is True)


def _of_one_rank(node: ast.BinOp, a: _Reduction, b: _Reduction) -> bool:
    """Say whether one tensor is a factor of the other in a ratio, or both are one and reduced in different ways.

    The same sums of one tensor as a column and a row are a table of pairs that is meant: of distances.
    """
    texts = [unparsed(a.of), unparsed(b.of)]
    if texts[0] == texts[1]:
        return a.by != b.by and isinstance(node.op, ast.Sub | ast.Div)
    factors = [
        unparsed(part)
        for one in (a.of, b.of)
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult)
        for part in (one.left, one.right)
    ]
    return isinstance(node.op, ast.Div) and any(one in factors for one in texts)
