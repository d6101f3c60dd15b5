"""Numbers of steps that are made of the length of a DataLoader, by the tree alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, keyword, scope_of
from trainworthy.check.static.tree import unparsed

_STEPS = re.compile(
    r"steps?(_|$)|iter(s|ation|$)|t_total|t_max|updates?(_|$)|^n(um)?_?batch|batches(_|$)|warm_?up", re.IGNORECASE
)


def divided_twice(analysis: Analysis) -> Iterator[tuple[ast.BinOp, str, str]]:
    """Yield where the length of a loader is divided by its own batch size for a number of steps, with both."""
    words = analysis.source.words
    if "DataLoader" not in words or "batch_size" not in words:
        return
    for node in analysis.nodes.get(ast.BinOp, ()):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div | ast.FloorDiv):
            continue
        loader = _measured(node.left)
        made = _making(analysis, loader) if loader is not None else None
        size = keyword(made, "batch_size") if made is not None else None
        if made is not None and size is None and len(made.args) > 1:
            size = made.args[1]
        if loader is None or size is None or isinstance(size, ast.Constant) or not _makes_steps(analysis, node):
            continue
        scope = scope_of(node, analysis.parents)
        if unparsed(size) in map(unparsed, _factors(followed(node.right, scope))):
            yield node, unparsed(loader), unparsed(size)


def _measured(node: ast.expr) -> ast.expr | None:
    """Return what `len` is asked of, if a number is nothing but that."""
    is_length = isinstance(node, ast.Call) and called(node) == "len" and len(node.args) == 1
    given = node.args[0] if is_length and isinstance(node, ast.Call) else None
    return given if isinstance(given, ast.Name | ast.Attribute) else None


def _making(analysis: Analysis, loader: ast.expr) -> ast.Call | None:
    """Return the call that makes a loader, if it is bound once, and in the same function unless it is of `self`."""
    text = unparsed(loader)
    bound = [
        one
        for one in analysis.nodes.get(ast.Assign, ())
        if isinstance(one, ast.Assign) and any(text in _names_of(target) for target in one.targets)
    ]
    value = bound[0].value if len(bound) == 1 else None
    if not isinstance(value, ast.Call) or called(value) != "DataLoader":
        return None
    near = scope_of(bound[0], analysis.parents) is scope_of(loader, analysis.parents)
    return value if near or (isinstance(loader, ast.Attribute) and text.startswith("self.")) else None


def _names_of(target: ast.expr) -> list[str]:
    return [unparsed(one) for one in (target.elts if isinstance(target, ast.Tuple) else [target])]


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def _makes_steps(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether a number is given to something that is called a number of steps, as it is or times epochs."""
    while node in analysis.parents:
        around = analysis.parents[node]
        if isinstance(around, ast.keyword):
            return _STEPS.search(around.arg or "") is not None
        if isinstance(around, ast.Assign):
            return any(_STEPS.search(last_name(target)) is not None for target in around.targets)
        is_number = isinstance(around, ast.Call) and called(around) in ("int", "ceil", "floor", "round", "max", "min")
        if not is_number and not isinstance(around, ast.BinOp | ast.IfExp):
            return isinstance(around, ast.Call) and called(around) == "range"
        node = around
    return False
