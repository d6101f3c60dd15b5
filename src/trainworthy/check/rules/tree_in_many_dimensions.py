"""A KD-tree in many dimensions is slower than looking at every point.

What it finds:
    `KDTree`, `cKDTree` or `BallTree` of an array whose second size is written out and above 20.

Why:
    Above about 20 dimensions every branch has to be visited: a matrix product with all points, or an approximate index,
    is faster.

How sure:
    A hint: data that lie on few dimensions are an exception.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Tensor

BAD = """\
import numpy as np
from scipy.spatial import KDTree

tree = KDTree(np.random.randn(1000, 512))  # <- TW760
"""

GOOD = """\
import numpy as np
from scipy.spatial import KDTree

tree = KDTree(np.random.randn(1000, 3))
"""

_MOST = 20


@rule(code="TW760", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the points that trees are made of."""
    if not analysis.source.words & {"KDTree", "cKDTree", "BallTree"}:
        return
    for call in once_per_place(iter(analysis.all_calls)):
        points = call.argument(0, "data") if call.name.endswith(("KDTree", "BallTree")) else None
        if isinstance(points, Tensor) and points.shape is not None and len(points.shape) == 2:
            size = points.shape[1]
            if size is not None and size > _MOST:
                yield Hit(
                    place=analysis.place(call.node, call.context),
                    message=f"a tree over {size} dimensions visits nearly every point for each query",
                    fix="Compare with all points by a matrix product, or use an approximate index.",
                )
