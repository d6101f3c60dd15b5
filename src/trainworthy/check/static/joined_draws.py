"""Several answers of a network to one batch, joined end to end where they should be stacked."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import (
    arguments_after_subject,
    called,
    followed,
    integer,
    keyword,
    scope_of,
    subject,
)
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.tree import nodes_of, unparsed, variables, walk

_NEW_AXIS = re.compile(r"unsqueeze|\[None|None\]|newaxis|\[\.\.\.|expand_dims|stack")


def joined_draws(analysis: Analysis) -> Iterator[tuple[ast.Call, ast.Call]]:
    """Yield ``torch.cat(draws)`` and where its first axis is averaged, if each draw has a row for each sample."""
    if "cat" not in analysis.source.words:
        return
    for cat in nodes_of(analysis.source.tree, ast.Call):
        func = cat.func
        if called(cat) != "cat" or not isinstance(func, ast.Attribute) or not cat.args:
            continue
        axis = keyword(cat, "dim", "axis") or (cat.args[1] if len(cat.args) > 1 else None)
        if library_of(analysis.source, func.value) != "torch" or (axis is not None and integer(axis) != 0):
            continue
        scope = scope_of(cat, analysis.parents)
        if _are_draws(cat.args[0], scope, analysis):
            mean = next(_means_of(cat, scope), None)
            if mean is not None and _is_of_several(mean, scope, analysis):
                yield cat, mean


def _are_draws(node: ast.expr, scope: ast.AST, analysis: Analysis) -> bool:
    """Say whether a list has what one expression gives, again and again: nothing in it changes from turn to turn."""
    made = followed(node, scope)
    if isinstance(made, ast.ListComp | ast.GeneratorExp):
        turns = made.generators
        return len(turns) == 1 and _is_drawn(
            made.elt, {n for one in turns for n in variables(one.target)}, turns[0].iter
        )
    if not isinstance(node, ast.Name):
        return False
    appends = [
        one
        for one in nodes_of(scope, ast.Call)
        if called(one) in ("append", "extend", "insert") and getattr(subject(one), "id", "") == node.id
    ]
    loop = analysis.parents.get(analysis.parents.get(appends[0], scope)) if len(appends) == 1 else None
    if not isinstance(loop, ast.For) or called(appends[0]) != "append" or len(appends[0].args) != 1:
        return False
    stored = {one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store)}
    return _is_drawn(appends[0].args[0], stored, loop.iter)


def _is_drawn(node: ast.expr, changing: set[str], turns: ast.expr) -> bool:
    fixed = called(turns) == "range" and not changing & variables(node)
    return fixed and any(isinstance(one, ast.Call) for one in walk(node)) and not _NEW_AXIS.search(unparsed(node))


def _means_of(cat: ast.Call, scope: ast.AST) -> Iterator[ast.Call]:
    """Yield the means of what was joined, over its first axis."""
    for node in nodes_of(scope, ast.Call):
        of = subject(node) if called(node) == "mean" else None
        if of is None or followed(of, scope) is not cat:
            continue
        rest = arguments_after_subject(node)
        axis = keyword(node, "dim", "axis") or (rest[0] if rest else None)
        if axis is not None and integer(axis) == 0:
            yield node


def _is_of_several(mean: ast.Call, scope: ast.AST, analysis: Analysis) -> bool:
    """Say whether the mean is meant to have a row for each sample: hits are counted from it."""
    for one in nodes_of(scope, ast.Compare):
        outer = analysis.parents.get(one)
        counts = isinstance(outer, ast.Attribute) and outer.attr in ("float", "sum", "mean", "double")
        if counts and isinstance(one.ops[0], ast.Eq) and _comes_from(one.left, mean, scope):
            return True
    return False


def _comes_from(node: ast.expr, mean: ast.Call, scope: ast.AST) -> bool:
    for _ in range(4):
        node = followed(node, scope)
        if node is mean:
            return True
        inner = subject(node) if isinstance(node, ast.Call) and called(node) in ("argmax", "round", "long") else None
        if inner is None:
            return False
        node = inner
    return False
