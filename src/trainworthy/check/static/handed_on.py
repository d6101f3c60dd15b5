"""What a call gets by ``**settings``, where one function makes and changes that dictionary: by the tree alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from trainworthy.check.static.assigned import scope_of
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.tree import own, unparsed

Branches = frozenset[tuple[ast.AST, bool]]


@dataclass(slots=True, eq=False)
class Entry:
    """One entry that a dictionary is given: ``value`` is None where it is taken out, or not written in the source."""

    key: str
    value: ast.expr | None
    node: ast.AST


def handed_on(call: ast.Call, parents: dict[ast.AST, ast.AST]) -> list[Entry]:
    """Return what the dictionaries that a call spreads are given above it; nothing of one that is not understood."""
    scope = scope_of(call, parents)
    found: list[Entry] = []
    for one in call.keywords:
        if one.arg is not None:
            continue
        if isinstance(one.value, ast.Name | ast.Attribute):
            found += _of_a_name(unparsed(one.value), call, scope)
        else:
            found += _written(one.value)
    return found


def _of_a_name(name: str, call: ast.Call, scope: ast.AST) -> list[Entry]:
    if not isinstance(scope, ast.Module | Def):
        return []
    found: list[Entry] = []
    for node in own(scope):
        if getattr(node, "lineno", 0) >= call.lineno:
            break
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target, value in _pairs(node):
                if unparsed(target) == name:
                    found += _written(value)
                elif isinstance(target, ast.Subscript) and unparsed(target.value) == name:
                    found += _entry(target.slice, value, node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and unparsed(node.func.value) == name:
            found += _changed(node, node.func.attr)
        elif isinstance(node, ast.Delete):
            deleted = [one for one in node.targets if isinstance(one, ast.Subscript) and unparsed(one.value) == name]
            found += [entry for one in deleted for entry in _entry(one.slice, None, node)]
    return found


def _pairs(node: ast.Assign | ast.AnnAssign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what an assignment binds, with the value of each."""
    value = node.value
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            yield from zip(target.elts, value.elts, strict=True)
        elif value is not None:
            yield target, value


def _changed(node: ast.Call, method: str) -> list[Entry]:
    if method == "update":
        given = [entry for one in node.args for entry in _written(one)]
        return given + [Entry(one.arg, one.value, one.value) for one in node.keywords if one.arg is not None]
    if method in ("pop", "setdefault") and node.args:
        return _entry(node.args[0], None, node)
    return []


def _entry(key: ast.expr | None, value: ast.expr | None, node: ast.AST) -> list[Entry]:
    text = key.value if isinstance(key, ast.Constant) else None
    return [Entry(text, value, node)] if isinstance(text, str) else []


def _written(node: ast.expr) -> list[Entry]:
    """Return the entries of ``{"a": 1}`` and ``dict(a=1)``."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [entry for key, value in pairs for entry in _entry(key, value, value)]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        return [Entry(one.arg, one.value, one.value) for one in node.keywords if one.arg is not None]
    return []


def branches(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Branches:
    """Return the conditions, and which branch of each, that a node stands in within its function."""
    found = set()
    while node in parents:
        child, node = node, parents[node]
        if isinstance(node, Def):
            break
        if isinstance(node, ast.If) and child is not node.test:
            found.add((node, child in node.body))
    return frozenset(found)


def excluded(a: Branches, b: Branches) -> bool:
    """Say whether two places stand in opposite branches of one condition."""
    return any((test, not truth) in b for test, truth in a)
