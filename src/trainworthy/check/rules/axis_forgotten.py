"""Everything is reduced to one number where one per row is meant.

What it finds:
    `mask.flatten(2).any()`, `x.view(len(x), -1).all()`: axes are put together only to be reduced, and then the axis is
    not named. And a result of `any()`, `all()`, `mean()` and the like without an axis that is used as if it had axes:
    `m.unsqueeze(1)`, `m.transpose(0, 1)`.

Why:
    The mask, scale or score is one number for the whole batch. It broadcasts to every shape, so that nothing fails.

How sure:
    Flattening all but the first axes changes nothing if all are reduced. A mean or sum after it is left out: of it one
    number may be meant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, keyword, last_given, scope_of
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def masked(loss, target):
    mask = (target != 0).flatten(2).any()  # <- TW108
    return loss * mask.view(mask.shape + (1,) * (loss.ndim - mask.ndim))
"""

GOOD = """\
import torch


def masked(loss, target):
    mask = (target != 0).flatten(2).any(dim=2)
    return loss * mask.view(mask.shape + (1,) * (loss.ndim - mask.ndim))
"""

_LOGICAL = frozenset({"any", "all"})
_REDUCTIONS = _LOGICAL | {"mean", "sum", "std", "var", "max", "min", "prod", "amax", "amin", "argmax", "argmin"}
_OF_AXES = frozenset({"unsqueeze", "expand_as", "permute", "transpose", "repeat"})


@rule(code="TW108", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at reductions without an axis."""
    if "torch" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if isinstance(node, ast.Call) and called(node) in _LOGICAL and _is_whole(node):
            scope = scope_of(node, analysis.parents)
            of = followed(node.func.value, scope)  # type: ignore[attr-defined]
            if _keeps_first_axes(of) and not _is_a_test(node, analysis.parents):
                yield _hit(analysis, node)
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) not in _OF_AXES or not isinstance(node.func, ast.Attribute):
            continue
        of = node.func.value
        made = last_given(scope_of(node, analysis.parents), of.id, node.lineno) if isinstance(of, ast.Name) else of
        if isinstance(made, ast.Call) and called(made) in _REDUCTIONS and _is_whole(made) and _is_rank_one(node):
            yield _hit(analysis, made)


def _hit(analysis: Analysis, node: ast.Call) -> Hit:
    return Hit(
        place=analysis.place(node),
        message=f"`{called(node)}()` without an axis gives one number for all rows",
        fix="Name the axes: `dim=...`.",
    )


def _is_whole(node: ast.Call) -> bool:
    """Say whether a reduction is a method call without any argument."""
    return isinstance(node.func, ast.Attribute) and not node.args and not node.keywords


def _is_rank_one(node: ast.Call) -> bool:
    """Say whether a call needs more axes than a number has."""
    if called(node) in ("permute", "transpose"):
        return len(node.args) >= 2
    at = node.args[0] if node.args else keyword(node, "dim")
    if called(node) != "unsqueeze":
        return False
    return isinstance(at, ast.Constant) and isinstance(at.value, int) and at.value >= 1


def _keeps_first_axes(node: ast.expr) -> bool:
    """Say whether axes other than the first are put together: `flatten(1)`, `view(len(x), -1)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    numbers = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
    if called(node) == "flatten":
        start = numbers[0] if numbers else getattr(keyword(node, "start_dim"), "value", 0)
        return isinstance(start, int) and start >= 1
    if called(node) in ("view", "reshape") and len(node.args) >= 2:
        return unparsed(node.args[-1]) == "-1" and numbers[0] not in (1, -1)
    return False


def _is_a_test(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether the number is what a condition or assertion asks for."""
    while node in parents:
        child, node = node, parents[node]
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.If | ast.While | ast.IfExp) and child is node.test:
            return True
        if isinstance(node, ast.stmt):
            return any(called(one) in ("bool", "assertTrue", "item") for one in walk(node))
    return False
