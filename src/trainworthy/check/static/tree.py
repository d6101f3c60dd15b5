"""What stands in a tree: as ``ast.walk``, for many rules that look at the same nodes.

A node's children are found once and kept with it, and for a definition all that is below it. Kept so, and not in a
cache beside it, they go when the tree goes. Marks are left out: ``ast.Load()``, ``ast.Add()`` and the like are shared
by a whole tree, and stand in ``ctx``, ``op`` and ``ops``.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any, TypeVar

_MARKS = tuple(
    mark
    for kind in (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
    for mark in kind.__subclasses__()
)
_NO_NODES = frozenset({*_MARKS, str, int, bool, type(None)})  # what fields hold beside nodes and lists
_LEAVES = frozenset({ast.Name, ast.Constant, ast.Pass, ast.Break, ast.Continue, ast.alias, ast.Global, ast.Nonlocal})
_KEPT = frozenset({ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.While, ast.With})


def walk(node: ast.AST) -> list[ast.AST]:
    """Return a node and all below it, level by level."""
    found = [node]
    kept = node.__dict__
    if type(node) not in _KEPT:
        _add_below(found)
    elif "_below" in kept:
        found += kept["_below"]
    else:
        _add_below(found)
        kept["_below"] = found[1:]
    return found


def _add_below(found: list[ast.AST]) -> None:
    for one in found:  # which grows
        if type(one) not in _LEAVES:
            found += one.__dict__.get("_children") or children(one)


_Node = TypeVar("_Node", bound=ast.AST)


def nodes_of(node: ast.AST, kind: type[_Node]) -> list[_Node]:
    """Return what is of one kind among a node and all below it, in the order of ``walk``; base classes have none."""
    kept = node.__dict__
    if type(node) not in _KEPT:
        return [one for one in walk(node) if type(one) is kind]
    kinds: dict[type[ast.AST], list[Any]] | None = kept.get("_kinds")
    if kinds is None:
        kinds = kept["_kinds"] = {}
        for one in walk(node):
            kinds.setdefault(type(one), []).append(one)
    return kinds.get(kind, [])


def children(node: ast.AST) -> Sequence[ast.AST]:
    """Return the nodes right below one, in the order of their fields."""
    if type(node) in _LEAVES:
        return ()
    kept = node.__dict__
    if "_children" not in kept:
        kept["_children"] = _children(node)
    found: Sequence[ast.AST] = kept["_children"]
    return found


def _children(node: ast.AST) -> tuple[ast.AST, ...]:
    found: list[ast.AST] = []
    kept = node.__dict__
    for name in node._fields:
        value: Any = kept.get(name)
        if type(value) is list:
            found += [one for one in value if type(one) not in _NO_NODES]
        elif type(value) not in _NO_NODES:
            found.append(value)
    return tuple(found)


_SCOPES = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef})


def own(node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) -> Sequence[ast.AST]:
    """Return what stands in a function, or a file, itself, not in functions and classes in it, in the text's order."""
    kept = node.__dict__
    if "_own" not in kept:
        kept["_own"] = _own(node.body)
    found: Sequence[ast.AST] = kept["_own"]
    return found


def _own(body: Sequence[ast.AST]) -> tuple[ast.AST, ...]:
    found: list[ast.AST] = list(body)
    for one in found:  # which grows
        if type(one) not in _SCOPES:
            found += children(one)
    return tuple(sorted(found, key=_position))


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


_DOTTED = frozenset({ast.Name, ast.Attribute, ast.Call, ast.Subscript})  # what a dot may follow as it is


def unparsed(node: ast.AST) -> str:
    """Return what ``ast.unparse`` writes for a node, which is written once.

    >>> unparsed(ast.parse("a .b( c )", mode="eval").body)
    'a.b(c)'
    """
    kept = node.__dict__
    text: str | None = kept.get("_unparsed")
    if text is None:
        if type(node) is ast.Name:
            return node.id
        if type(node) is ast.Attribute and type(node.value) in _DOTTED:
            text = f"{unparsed(node.value)}.{node.attr}"
        else:
            text = ast.unparse(node)
        kept["_unparsed"] = text
    return text


def variables(node: ast.AST) -> set[str]:
    """Return the names of all variables that stand in a node."""
    return {one.id for one in walk(node) if isinstance(one, ast.Name)}
