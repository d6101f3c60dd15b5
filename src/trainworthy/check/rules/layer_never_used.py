"""A layer is made in `__init__` and never used.

What it finds:
    `self.dropout = nn.Dropout(0.1)` (or any layer of torch's or of the project's) in a module's `__init__`, when
    nothing in the project ever reads the attribute.

Why:
    The network is not the one that was meant: it has no dropout, no norm, no projection there. Its parameters get no
    gradient, which DDP refuses and a checkpoint carries along.

How sure:
    Silent where layers are reached in another way: `children()`, `getattr`, the name as a text, `_modules`; where the
    name says that it is not used; and in tests. A hint where the layer has no parameters.

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
from trainworthy.check.static.everywhere import attribute_is_read, read_by
from trainworthy.check.static.external import is_loss_module, is_module
from trainworthy.check.static.facts import Store
from trainworthy.check.static.queries import is_a_test, names_in
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Instance, ProjectClass, Value

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
_ON_PURPOSE = re.compile(r"(^|_)(unused|dummy|not_?used)($|_)")
_NO_PARAMETERS = re.compile(
    r"^torch\.nn\.(\w+\.)*(\w*Dropout\w*|Identity|(Un)?[Ff]latten|(Unf|F)old|Upsample\w*|Pixel\w+|\w*(Pad|Pool)\dd|"
    r"(Log)?Soft\w+|Hard\w+|(Leaky|R)?ReLU6?|(Log)?Sigmoid|Tanh\w*|SiLU|GELU|[CS]?ELU|GLU|Mish|Threshold)$"
)
_CONTAINERS = ("torch.nn.ModuleList", "torch.nn.ModuleDict", "torch.nn.Parameter", "torch.nn.ParameterList")


@rule(code="TW377", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes that are layers."""
    seen: set[ast.AST] = set()
    for store in analysis.stores:
        if store.node in seen or not _is_a_layer(analysis, store) or not isinstance(store.target, ast.Attribute):
            continue
        seen.add(store.node)
        if _ON_PURPOSE.search(store.target.attr) or is_a_test(analysis.source):
            continue
        function = store.context.function
        cls = function.owner if function is not None else None
        if cls is None or not any(isinstance(one, ast.FunctionDef) and one.name == "forward" for one in cls.node.body):
            continue
        if not _is_read(analysis, store.target.attr, cls) and not _reached_otherwise(cls.node):
            yield Hit(
                place=analysis.place(store.node, store.context),
                message=f"`self.{store.target.attr}` is never used",
                fix="Call it in `forward`, or remove it.",
                severity="hint" if _has_no_parameters(store.value) else None,
            )


def _has_no_parameters(value: Value) -> bool:
    """Say whether a layer of torch's has nothing that is trained, moved or saved."""
    return isinstance(value, Instance) and _NO_PARAMETERS.search(value.type) is not None


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
        isinstance(one, ast.FunctionDef) and "init" not in one.name and _OTHER_WAYS.search(unparsed(one)) is not None
        for one in cls.body
    )


def _is_read(analysis: Analysis, name: str, cls: ProjectClass) -> bool:
    """Say whether the class reads an attribute, a relative of it does, or anything reads it of an object."""
    related = {cls.node.name} | {one.node.name for one in _bases(cls)}
    for node in analysis.nodes.get(ast.ClassDef, []):
        if isinstance(node, ast.ClassDef):
            known = node.name in related or related & {name for base in node.bases for name in names_in(base)}
            if known and any(_reads_itself(one, name) for one in walk(node)):
                return True
    if any(name in read_by(base.source.text) for base in _bases(cls)):
        return True
    return attribute_is_read(analysis.source.path, name, cls.node.name) is not False or _is_read_of_an_object(
        analysis, name
    )


def _bases(cls: ProjectClass) -> list[ProjectClass]:
    found: list[ProjectClass] = []
    left = [cls]
    while left and len(found) < 20:
        left += (bases := [one for one in left.pop().bases if isinstance(one, ProjectClass)])
        found += bases
    return found


def _reads_itself(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load)


def _is_read_of_an_object(analysis: Analysis, name: str) -> bool:
    """Say whether the file reads the attribute of anything but `self`, or has the name as a text."""
    for node in analysis.nodes.get(ast.Attribute, []):
        if _reads_itself(node, name) and getattr(getattr(node, "value", None), "id", "") != "self":
            return True
    return any(getattr(node, "value", None) == name for node in analysis.nodes.get(ast.Constant, []))
