"""The transpose of an array with one axis is the array itself.

What it finds:
    `.T`, `.transpose()` or `np.transpose` of an array that is known to have one axis.

Why:
    `a @ a.T` of a row was meant to be a matrix and is a number; no error is raised.

How sure:
    The array is made with one axis in the same file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Tensor

BAD = """\
import numpy as np

a = np.random.randn(5)
outer = a @ a.T  # <- TW102
"""

GOOD = """\
import numpy as np

a = np.random.randn(5, 1)
outer = a @ a.T
"""


_RANK = re.compile(r"\bndim\b|\bdim\(|\bshape\b|\bsize\(")


@rule(code="TW102", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes and methods."""
    for load in analysis.loads:
        owner = load.owner
        if load.node.attr != "T" or not isinstance(owner, Tensor) or owner.shape is None or len(owner.shape) != 1:
            continue
        if any(_RANK.search(unparsed(test)) for test, _ in load.context.branches):
            continue  # it is asked for two axes first
        yield Hit(
            place=analysis.place(load.node, load.context),
            message="`.T` of an array with one axis does nothing",
            fix="Make it a column or row first: `a[:, None]`, or use `np.outer`.",
        )
    for call in once_per_place(analysis.calls("numpy.ndarray.transpose", "numpy.transpose")):
        method = call.name != "numpy.transpose"
        array = call.owner if method else call.argument(0, "a")
        plain = len(call.node.args) + len(call.node.keywords) == (0 if method else 1)
        if isinstance(array, Tensor) and array.shape is not None and len(array.shape) == 1 and plain:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="`transpose` of an array with one axis does nothing",
                fix="Make it a column or row first: `a[:, None]`, or use `np.outer`.",
            )
