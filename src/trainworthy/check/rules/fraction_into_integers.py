"""A fraction is written into an array of integers.

What it finds:
    `a[i] = 0.5` where `a` was made from integers, and `a /= 2` or `a += 0.5` of such an array.

Why:
    Item assignment cuts the fraction off silently; the operators fail.

How sure:
    The array is made of integer literals, or with an integer type, in the same file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.values import Const, Ref, Sequence, Tensor

BAD = """\
import numpy as np

a = np.array([1, 2, 3])
a[0] = 0.5  # <- TW504
"""

GOOD = """\
import numpy as np

a = np.array([1.0, 2.0, 3.0])
a[0] = 0.5
"""


@rule(code="TW504", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at items of integer arrays."""
    for store in analysis.stores:
        if not isinstance(store.target, ast.Subscript) or not isinstance(store.owner, Tensor):
            continue
        made = store.owner.made_by
        fraction = isinstance(store.value, Const) and isinstance(store.value.value, float)
        if made is None or not fraction or not _integers(made) or made.result is not store.owner:
            continue
        if isinstance(store.value, Const) and float(str(store.value.value)).is_integer():
            continue
        yield Hit(
            place=analysis.place(store.node, store.context),
            message="the array holds integers; the fraction is cut off",
            evidence=(Evidence("it is made here", analysis.place(made.node, made.context)),),
            fix="Make it of floats: `dtype=float`.",
        )


def _integers(made: Call) -> bool:
    given = made.keywords.get("dtype")
    if given is not None:
        return isinstance(given, Ref) and given.name in ("builtins.int", "numpy.int64", "numpy.int32", "torch.long")
    if made.starred:
        return False
    first = made.args[0] if made.args else None
    if made.name in ("numpy.array", "torch.tensor") and isinstance(first, Sequence) and first.items:
        return len(made.args) == 1 and all(isinstance(o, Const) and type(o.value) is int for o in first.items)
    return (
        made.name in ("numpy.arange", "torch.arange")
        and len(made.args) == 1
        and isinstance(first, Const)
        and type(first.value) is int
    )
