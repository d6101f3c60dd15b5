"""A function that is called as if it changed its argument binds the name to another tensor.

What it finds:
    `def truncated_normal_(tensor): ... tensor = torch.where(tensor.abs() > 2, other, tensor)`: a name that ends in an
    underscore says that the argument is changed in place, and this changes only what the name stands for.

Why:
    The caller's tensor, often a weight that is being initialised, stays as it was before that line.

How sure:
    The value is a new tensor, not a view of the old one, and nothing later writes into it. Silent if the old tensor has
    a second name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_of
from trainworthy.check.static.tree import walk

BAD = """\
import torch


def truncated_normal_(tensor, std=1.0):
    torch.nn.init.normal_(tensor, std=std)
    outside = tensor.abs() > 2 * std
    tensor = torch.where(outside, torch.zeros_like(tensor), tensor)  # <- TW834
    return tensor
"""

GOOD = """\
import torch


def truncated_normal_(tensor, std=1.0):
    torch.nn.init.normal_(tensor, std=std)
    outside = tensor.abs() > 2 * std
    tensor[outside] = 0
    return tensor
"""

_IN_PLACE = re.compile(r"[a-z0-9]_$")
_NEW = frozenset(
    "where clamp clip minimum maximum mul div add sub lerp masked_fill normalize softmax sigmoid abs".split()
)


@rule(code="TW834", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions whose name ends in an underscore."""
    if "torch" not in analysis.source.words:
        return
    for node in functions_of(analysis.nodes):
        first = node.args.args[0].arg if node.args.args else "self"
        if not _IN_PLACE.search(node.name) or first in ("self", "cls"):
            continue
        names = bindings_of(node)
        plain = list(names.plain_assignments())
        if any(isinstance(one.value, ast.Name) and one.value.id == first for one, _ in plain):
            continue
        last = [one for one, name in plain if name == first][-1:]
        for statement in last:
            if _is_new(statement.value, first) and _is_changed(node, first):
                yield Hit(
                    place=analysis.source.place(statement),
                    message=f"`{first}` stands for another tensor from here on: what `{node.name}` was given stays",
                    fix=f"Write into it: `{first}.copy_(...)`.",
                )


def _is_new(value: ast.expr, name: str) -> bool:
    """Say whether a value is made of a tensor and is surely another one: no view, and no cast that may be itself."""
    if not any(isinstance(one, ast.Name) and one.id == name for one in walk(value)):
        return False
    if isinstance(value, ast.Call):
        return getattr(value.func, "attr", "") in _NEW
    return isinstance(value, ast.BinOp)


def _is_changed(node: Def, name: str) -> bool:
    """Say whether the function also writes into its argument, so that this is a tensor."""
    for one in walk(node):
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store) and getattr(one.value, "id", "") == name:
            return True
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and _IN_PLACE.search(one.func.attr):
            holders = [one.func.value, *one.args[:1]]
            if any(isinstance(inner, ast.Name) and inner.id == name for holder in holders for inner in walk(holder)):
                return True
    return False
