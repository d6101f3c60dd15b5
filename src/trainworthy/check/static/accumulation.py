"""How programs write that gradients are gathered over several micro-batches."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.facts import Context
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import nodes_of, walk

_COUNT = re.compile(r"accum|micro_?batch|grad_acc|gas\b", re.IGNORECASE)


def last_name(node: ast.AST) -> str:
    """Return the last part of a dotted name: ``steps`` of ``self.args.steps``; "" for anything else."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    return str(getattr(node, "attr", None) or getattr(node, "id", ""))


def counts(node: ast.AST) -> Iterator[str]:
    """Yield the names below a node that say how many micro-batches make a step."""
    for one in walk(node):
        if isinstance(one, ast.Name | ast.Attribute | ast.Subscript) and _COUNT.search(last_name(one)):
            yield last_name(one)


def is_periodic(test: ast.expr, context: Context) -> bool:
    """Say whether a condition holds once in several turns: a remainder compared, or a name that was made by one."""
    if has_remainder(test):
        return True
    names = {one.id for one in nodes_of(test, ast.Name)}
    return any(
        isinstance(node, ast.Assign)
        and has_remainder(node.value)
        and any(last_name(one) in names for one in node.targets)
        for node in walk(body_of(context))
    )


def periodic_count(test: ast.expr, context: Context) -> str:
    """Name the count of micro-batches by whose remainder a condition holds, also through a name; "" if none."""
    name = _divisor(test)
    if name:
        return name
    names = {one.id for one in nodes_of(test, ast.Name)}
    for node in walk(body_of(context)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is not None and any(one is not None and last_name(one) in names for one in targets):
            name = _divisor(value)
            if name:
                return name
    return ""


def _divisor(node: ast.AST) -> str:
    """Name the count by which a remainder is taken in a comparison below a node."""
    for one in walk(node):
        if isinstance(one, ast.Compare):
            for part in walk(one):
                if isinstance(part, ast.BinOp) and is_remainder(part):
                    return next(counts(part.right), "")
    return ""


def has_remainder(node: ast.AST) -> bool:
    """Say whether a comparison with a remainder stands below a node."""
    return any(isinstance(one, ast.Compare) and any(map(is_remainder, walk(one))) for one in walk(node))


def is_remainder(node: ast.AST) -> bool:
    """Say whether a node is ``a % b``, not the formatting of a text."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mod)
        and not (isinstance(node.left, ast.Constant) and isinstance(node.left.value, str))
    )
