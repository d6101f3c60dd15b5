"""Errors of padded positions: a mask picks some for a number that is shown, and the loss is the mean of all."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, times_given
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.queries import is_a_test, names_in
from trainworthy.check.static.tree import nodes_of

_ERROR = re.compile(r"loss|err|(^|_)(nll|ce|mse|mae|l1|bce)(_|$)")
_RESULT = re.compile(r"loss|objective|cost")
_ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def means_beside_a_mask(analysis: Analysis) -> Iterator[tuple[ast.Call, str]]:
    """Yield ``errors.mean()`` that is a loss, where ``errors[mask]`` is only looked at, with the name of the mask."""
    if is_a_test(analysis.source) or not {"mean", "arange"} <= analysis.source.words:
        return
    for function in functions_of(analysis.nodes):
        picked = list(_picked(analysis, function))
        for errors in {name for _, name, _ in picked}:
            masks = [mask for _, name, mask in picked if name == errors]
            counted = any(_is_part_of_loss(analysis, node) for node, name, _ in picked if name == errors)
            means = [one for one in nodes_of(function, ast.Call) if _is_mean_of(one, errors)]
            if len(means) == 1 and not counted and _is_part_of_loss(analysis, means[0]):
                yield means[0], masks[0]


def _picked(analysis: Analysis, function: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """Yield where errors are picked by a mask of lengths, with both names."""
    for node in nodes_of(function, ast.Subscript):
        if isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Name) and isinstance(node.ctx, ast.Load):
            errors, mask = node.value.id, node.slice.id
            once = times_given(function, mask) == 1 == times_given(function, errors)
            if once and _ERROR.search(errors.lower()) and _is_of_lengths(node.slice, function):
                yield node, errors, mask


def _is_of_lengths(mask: ast.Name, scope: ast.AST) -> bool:
    """Say whether a mask compares positions with how many each sample has: `arange(t)[None] < lengths[:, None]`."""
    made = followed(mask, scope)
    if not isinstance(made, ast.Compare) or len(made.ops) != 1 or not isinstance(made.ops[0], _ORDERS):
        return False
    sides = [names_in(followed(one, scope)) for one in (made.left, made.comparators[0])]
    return ("arange" in sides[0]) != ("arange" in sides[1])


def _is_mean_of(node: ast.Call, name: str) -> bool:
    func = node.func
    plain = isinstance(func, ast.Attribute) and not node.args and not node.keywords and called(node) == "mean"
    return plain and isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == name


def _is_part_of_loss(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether something is returned, assigned to what is called a loss, or goes backward."""
    while node in analysis.parents and not isinstance(node, ast.stmt):
        node = analysis.parents[node]
        if isinstance(node, ast.Call) and called(node) == "backward":
            return True
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    names = [str(getattr(one, "id", getattr(one, "attr", ""))) for one in targets]
    return isinstance(node, ast.Return) or any(_RESULT.search(one.lower()) for one in names)
