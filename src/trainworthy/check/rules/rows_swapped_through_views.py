"""Rows of an array or tensor are swapped by a tuple assignment.

What it finds:
    `a[i], a[j] = a[j], a[i]` where `a` is a tensor, or an array with two and more axes.

Why:
    `a[j]` is a view. The first assignment overwrites what the second one reads: both rows are equal afterwards.

How sure:
    The object is a tensor, or an array known to have at least two axes. Elements of a one-axis array are copies.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Tensor, Value

BAD = """\
import numpy as np

a = np.random.rand(4, 3)
a[0], a[1] = a[1], a[0]  # <- TW503
"""

GOOD = """\
import numpy as np

a = np.random.rand(4, 3)
a[[0, 1]] = a[[1, 0]]
row = np.random.rand(4)
row[0], row[1] = row[1], row[0]
names = ["x", "y"]
names[0], names[1] = names[1], names[0]
"""


@rule(code="TW503", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at assignments of tuples."""
    seen = set()
    for store in analysis.stores:
        node = store.node
        if not isinstance(node, ast.Assign) or node in seen or store.owner is None or not _views(store.owner):
            continue
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple) or len(target.elts) != 2:
            continue
        if len(value.elts) == 2 and [_text(one) for one in target.elts] == [_text(one) for one in reversed(value.elts)]:
            seen.add(node)
            yield Hit(
                place=analysis.place(node, store.context),
                message="the right side holds views: both rows are the same afterwards",
                fix="Write `a[[i, j]] = a[[j, i]]`, or copy one row.",
            )


def _views(value: Value) -> bool:
    if not isinstance(value, Tensor):
        return False
    return value.library == "torch.Tensor" or (value.shape is not None and len(value.shape) > 1)


def _text(node: ast.expr) -> str:
    return unparsed(node)
