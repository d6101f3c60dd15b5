"""A value is written into a copy that nobody keeps.

What it finds:
    `a[mask][0] = 1` and `a[[1, 2]][:, 0] = 1` of an array or tensor.

Why:
    Indexing with a mask or list copies. The value goes into the copy, and `a` stays as it is.

How sure:
    The first index is a list literal or a comparison, and the object is an array or tensor.
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
        copies = isinstance(inner, ast.List | ast.Compare)
        if copies and isinstance(store.owner, Tensor):
            yield Hit(
                place=analysis.place(store.node, store.context),
                message="indexing with a mask or list copies; this writes into the copy",
                fix="Use one index: `a[mask, 0] = ...`.",
            )
