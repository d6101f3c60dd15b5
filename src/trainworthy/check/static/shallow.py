"""Shallow copies of lists and dictionaries, and what is changed below their first level."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.bindings import Bindings
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, own, unparsed

_CHANGES = frozenset("append extend insert pop remove clear sort reverse update setdefault popitem add discard".split())
_OF_LISTS = frozenset({"append", "extend", "insert"})
_NESTED = ast.List | ast.ListComp | ast.Dict | ast.DictComp


class Copy(NamedTuple):
    """An assignment of a shallow copy.

    Attributes:
        name: What is assigned.
        made: The assignment.
        original: What is copied: a name or an attribute.
        means_arrays_too: Whether the same would copy all of an array: ``copy.copy``, ``.copy()``.
        is_list: Whether it makes a list of whatever it is: ``list(...)``, ``[*...]``.
    """

    name: str
    made: ast.Assign
    original: ast.expr
    means_arrays_too: bool
    is_list: bool


def shallow_copies(source: Source, names: Bindings) -> Iterator[Copy]:
    """Yield the copies to which a function, or a file, gives a name once."""
    for made, name, value in names.given:
        once = len(names.stores[name]) == 1 and name not in names.declared and name not in names.parameters
        original, means_arrays_too, is_list = _original(source, value) if once else (None, False, False)
        if isinstance(original, ast.Name | ast.Attribute) and unparsed(original) != name:
            yield Copy(name, made, original, means_arrays_too, is_list)


def _original(source: Source, value: ast.expr) -> tuple[ast.expr | None, bool, bool]:
    """Return what an expression is a copy of, whether it would be a whole one of an array, and whether it is a list."""
    if isinstance(value, ast.Call):
        func = value.func
        if isinstance(func, ast.Attribute) and func.attr == "copy" and not value.args and not value.keywords:
            return func.value, True, False
        if len(value.args) == 1 and full_name(source, func) == "copy.copy":
            return value.args[0], True, False
        if len(value.args) == 1 and isinstance(func, ast.Name) and func.id in ("list", "dict"):
            return value.args[0], False, func.id == "list"
    if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Slice):
        bounds = (value.slice.lower, value.slice.upper, value.slice.step)
        return (None if any(bounds) else value.value), False, False
    if isinstance(value, ast.Dict) and value.keys and value.keys[0] is None:
        return value.values[0], False, False
    if isinstance(value, ast.List) and len(value.elts) == 1 and isinstance(value.elts[0], ast.Starred):
        return value.elts[0].value, False, True
    return None, False, False


def outlives(names: Bindings, copy: Copy) -> bool:
    """Say whether somebody may read the original after it was copied."""
    if not isinstance(copy.original, ast.Name):
        return True
    name, end = copy.original.id, copy.made.end_lineno or copy.made.lineno
    if any(read.lineno > end for read in names.reads[name]):
        return True
    # A list is often made to have one at all: then the caller's is no other thing.
    return not copy.is_list and (name in names.parameters or name not in names.stores)


def first_change(copy: Copy, names: Bindings) -> ast.AST | None:
    """Return the first change below the first level; None without one, or if what the copy holds is replaced."""
    found: list[ast.Subscript | ast.Call] = []
    for node in own(names.scope):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            keys = _keys(node, copy.name)
            if len(keys) == 1:
                return None
            if keys and _holds_others(copy, names, keys[0]):
                found.append(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            keys = _keys(node.func.value, copy.name)
            if keys and _holds_others(copy, names, keys[0]):
                found.append(node)
        elif isinstance(node, ast.For) and (element := _element(node, copy.name)) and _holds_others(copy, names):
            found += _changes_in(node, element)
    after = [node for node in found if node.lineno > copy.made.lineno]
    return min(after, key=lambda node: node.lineno, default=None)


def _keys(node: ast.AST, name: str) -> list[ast.expr]:
    """Return the keys that lead from a name to a part, outermost first; none for another name's part."""
    keys: list[ast.expr] = []
    while isinstance(node, ast.Subscript):
        keys.insert(0, node.slice)
        node = node.value
    return keys if isinstance(node, ast.Name) and node.id == name else []


def _holds_others(copy: Copy, names: Bindings, key: ast.expr | None = None) -> bool:
    """Say whether the original is a list or a dictionary of such, and no array."""
    if not copy.means_arrays_too or (isinstance(key, ast.Constant) and isinstance(key.value, str)):
        return True
    if not isinstance(copy.original, ast.Name):
        return False
    name = copy.original.id
    arguments = [] if isinstance(names.scope, ast.Module) else [*names.scope.args.args, *names.scope.args.kwonlyargs]
    annotation = next((one.annotation for one in arguments if one.arg == name), None)
    if annotation is not None:
        return unparsed(annotation).lower().startswith(("list[list", "list[dict", "dict["))
    value = next((v for made, n, v in names.given if n == name and made.lineno < copy.made.lineno), None)
    if isinstance(value, ast.ListComp):
        return isinstance(value.elt, _NESTED)
    return isinstance(value, ast.List) and bool(value.elts) and isinstance(value.elts[0], _NESTED)


def _element(loop: ast.For, name: str) -> str:
    """Return what a loop calls the elements of a list, or the values of a dictionary; "" if it goes through another."""
    iterated, at = loop.iter, None
    if isinstance(iterated, ast.Call):
        func = iterated.func
        through = [last_name(one) for one in iterated.args]
        if isinstance(func, ast.Attribute) and func.attr in ("values", "items"):
            iterated, at = func.value, 1 if func.attr == "items" else None
        elif last_name(func) in ("enumerate", "zip") and name in through:
            at = through.index(name) + (last_name(func) == "enumerate")
            iterated = iterated.args[through.index(name)]
    if not (isinstance(iterated, ast.Name) and iterated.id == name):
        return ""
    target: ast.expr | None = loop.target
    if at is not None:
        target = loop.target.elts[at] if isinstance(loop.target, ast.Tuple) and at < len(loop.target.elts) else None
    return target.id if isinstance(target, ast.Name) else ""


def _changes_in(loop: ast.For, element: str) -> Iterator[ast.Subscript | ast.Call]:
    """Yield where a loop's body changes the element itself, and does not give its name to something else."""
    body = ast.Module(loop.body, [])
    if any(one.id == element and isinstance(one.ctx, ast.Store) for one in nodes_of(body, ast.Name)):
        return
    for part in nodes_of(body, ast.Subscript):
        if isinstance(part.ctx, ast.Store | ast.Del) and _keys(part, element):
            yield part
    for call in nodes_of(body, ast.Call):
        func = call.func
        is_of_list = isinstance(func, ast.Attribute) and func.attr in _OF_LISTS
        if is_of_list and isinstance(func, ast.Attribute) and last_name(func.value) == element:
            yield call
