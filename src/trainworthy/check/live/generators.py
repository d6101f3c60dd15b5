"""Random generators that a data set keeps."""

from __future__ import annotations

import ast
import linecache
import random
import sys
from collections.abc import Iterator
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler

from trainworthy.check.finding import Place
from trainworthy.check.live.watch import Watch

_ENTRIES = 16
_NOT_LOOKED_INTO = (type, ModuleType, FunctionType, torch.Tensor, torch.nn.Module, Sampler, DataLoader)
_MAX_HELD, _MAX_DEPTH = 256, 3  # objects that a data set holds, in search of generators


class Stored(NamedTuple):
    """A generator, by its name in a data set, and the class of the object that has it as an attribute."""

    name: str
    owner: type
    attribute: str


def set_at(watch: Watch, stored: Stored) -> Place | None:
    """Return the line of the user's class that sets the attribute first."""
    for kind in stored.owner.__mro__:
        methods = [one.__code__ for one in vars(kind).values() if isinstance(one, FunctionType)]
        methods = [code for code in methods if watch.finder.is_user(code)]
        if not methods:
            continue
        path = methods[0].co_filename
        lines = {
            number
            for node in ast.walk(_parsed(path))
            if isinstance(node, ast.FunctionDef) and any(_begins(node) == code.co_firstlineno for code in methods)
            for number in _stores(node, stored.attribute)
        }
        if lines:
            return Place(watch.finder.relative(path), min(lines))
    return None


def _parsed(path: str) -> ast.Module:
    try:
        return ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:  # as a notebook's, whose cells are no file
        return ast.Module([], [])


def _begins(node: ast.FunctionDef) -> int:
    """Return the line where Python says that a function begins: that of its first decorator, if it has one."""
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _stores(node: ast.AST, attribute: str) -> list[int]:
    return [
        one.lineno for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and one.attr == attribute and isinstance(one.ctx, ast.Store)
    ]  # fmt: skip


def stored_generators(dataset: Any) -> Iterator[Stored]:
    """Yield the attributes that are random generators: each worker gets a copy in the same state.

    Looked at are the data set and the objects of the program that it holds, as transforms and other data sets.
    """
    left: list[tuple[str, Any]] = [("", dataset)]
    seen: set[int] = set()
    while left and len(seen) < _MAX_HELD:
        path, one = left.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        ours = one is dataset or not _is_installed(type(one))
        for name, value in list(getattr(one, "__dict__", {}).items()):
            said = f"{path}{name}"
            if _is_generator(value.__self__ if isinstance(value, (BuiltinMethodType, MethodType)) else value):
                if ours:
                    yield Stored(said, type(one), name)
            elif said.count(".") < _MAX_DEPTH:
                left += [(f"{said}.", each) for each in _held(value)]


def _held(value: Any) -> list[Any]:
    """Return the objects with attributes that a value is, or that a list holds as its first."""
    several = list(value[:_ENTRIES]) if type(value) in (list, tuple) else [value]
    return [
        each for each in several
        if hasattr(each, "__dict__") and not issubclass(type(each), _NOT_LOOKED_INTO)
    ]  # fmt: skip


def _is_installed(kind: type) -> bool:
    path = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return "site-packages" in path or "dist-packages" in path or kind.__module__ in sys.stdlib_module_names


def _is_generator(value: Any) -> bool:
    kind = f"{type(value).__module__}.{type(value).__name__}"
    return issubclass(type(value), (torch.Generator, random.Random)) or kind in (
        "numpy.random._generator.Generator", "numpy.random.mtrand.RandomState", "numpy.random.RandomState",
    )  # fmt: skip
