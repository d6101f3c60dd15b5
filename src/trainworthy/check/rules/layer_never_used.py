"""A layer is made in `__init__` and never used.

What it finds:
    `self.dropout = nn.Dropout(0.1)` (or any layer of torch's or of the project's) in a module's `__init__`, when
    nothing in the project ever reads the attribute.

Why:
    The network is not the one that was meant: it has no dropout, no norm, no projection there. Its parameters get no
    gradient, which DDP refuses and a checkpoint carries along.

How sure:
    Silent where layers are reached in another way: `children()`, `getattr`, the name as a text, `_modules`.

When it is wrong:
    A checkpoint of an older version is to be loaded strictly.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import read_by, read_in_project
from trainworthy.check.static.external import is_loss_module, is_module
from trainworthy.check.static.facts import Store
from trainworthy.check.static.values import Instance

BAD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)  # <- TW377

    def forward(self, x):
        return x + torch.relu(self.linear(x))
"""

GOOD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        return x + self.dropout(torch.relu(self.linear(x)))
"""

_OTHER_WAYS = re.compile(r"children\(|named_modules\(|_modules\b|getattr\(|__dict__|vars\(|\bglobals\(|\.modules\(")
_CONTAINERS = ("torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.Parameter", "torch.nn.ParameterList")


@rule(code="TW377", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes that are layers."""
    seen: set[ast.AST] = set()
    for store in analysis.stores:
        if store.node in seen or not _is_a_layer(analysis, store) or not isinstance(store.target, ast.Attribute):
            continue
        seen.add(store.node)
        function = store.context.function
        cls = function.owner if function is not None else None
        if (
            cls is None
            or _reached_otherwise(cls.node)
            or not any(isinstance(one, ast.FunctionDef) and one.name == "forward" for one in cls.node.body)
        ):
            continue
        if not _is_read(analysis, store.target.attr):
            yield Hit(
                place=analysis.place(store.node, store.context),
                message=f"`self.{store.target.attr}` is never used",
                fix="Call it in `forward`, or remove it.",
            )


def _is_a_layer(analysis: Analysis, store: Store) -> bool:
    function = store.context.function
    value = store.value
    return (
        function is not None
        and function.name == "__init__"
        and store.context.source is analysis.source
        and isinstance(store.target, ast.Attribute)
        and isinstance(store.target.value, ast.Name)
        and store.target.value.id == "self"
        and isinstance(store.owner, Instance)
        and is_module(store.owner)
        and isinstance(value, Instance)
        and isinstance(getattr(store.node, "value", None), ast.Call)
        and is_module(value)
        and value.type not in _CONTAINERS
        and not is_loss_module(value)
    )


def _reached_otherwise(cls: ast.ClassDef) -> bool:
    """Say whether the methods of a class reach its layers without their names, initialising left out."""
    return any(
        isinstance(one, ast.FunctionDef) and "init" not in one.name and _OTHER_WAYS.search(ast.unparse(one)) is not None
        for one in cls.body
    )


def _is_read(analysis: Analysis, name: str) -> bool:
    if name in read_by(analysis.source.text) or any(name in read_by(source.text) for source in analysis.sources):
        return True
    everywhere = read_in_project(analysis.source.path)
    return everywhere is None or name in everywhere
