"""A value is written into a copy that nobody keeps.

What it finds:
    `a[mask][0] = 1` and `a[[1, 2]][:, 0] = 1` of an array or tensor.

Why:
    Indexing with a mask or list copies. The value goes into the copy, and `a` stays as it is.

How sure:
    The first index is a list literal, a comparison, or a mask by its name, and the object is an array or tensor: known
    to be one, or indexed as only they can be (`[..., 0]`, `[:, 1:]`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Tensor

BAD = """\
import numpy as np

a = np.random.rand(4, 3)
a[a[:, 0] > 0.5][:, 1] = 0.0  # <- TW505
"""

GOOD = """\
import numpy as np

a = np.random.rand(4, 3)
a[a[:, 0] > 0.5, 1] = 0.0
a[0][1] = 0.0
"""


@rule(code="TW505", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at items of items."""
    for store in analysis.stores:
        target = store.target
        if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Subscript):
            continue
        inner = target.value.slice
        copies = isinstance(inner, ast.List | ast.Compare) or _is_a_mask(inner)
        if copies and (isinstance(store.owner, Tensor) or _is_of_an_array(target.slice)):
            yield Hit(
                place=analysis.place(store.node, store.context),
                message="indexing with a mask or list copies; this writes into the copy",
                fix="Use one index: `a[mask, 0] = ...`.",
            )


def _is_a_mask(index: ast.expr) -> bool:
    """Say whether an index is a mask by its name or by what makes it."""
    if isinstance(index, ast.UnaryOp):
        return isinstance(index.op, ast.Invert)
    if isinstance(index, ast.BinOp):
        return isinstance(index.op, ast.BitAnd | ast.BitOr)
    if isinstance(index, ast.Attribute) and index.attr in ("T", "mT"):
        index = index.value
    if isinstance(index, ast.Subscript) and isinstance(index.slice, ast.Constant):
        return isinstance(index.slice.value, str) and index.slice.value.endswith("mask")
    name = index.attr if isinstance(index, ast.Attribute) else index.id if isinstance(index, ast.Name) else ""
    return name.endswith("mask")


def _is_of_an_array(index: ast.expr) -> bool:
    """Say whether only arrays and tensors can be indexed so: `[..., 0]`, `[:, 1:]`."""
    if not isinstance(index, ast.Tuple):
        return False
    return any(isinstance(one, ast.Slice) or (isinstance(one, ast.Constant) and one.value is ...) for one in index.elts)
