"""A KD-tree in many dimensions is slower than looking at every point.

What it finds:
    `KDTree`, `cKDTree` or `BallTree` of an array whose second size is written out and above 20; also what
    `NearestNeighbors(algorithm="kd_tree")` and others of scikit-learn that are told to make a tree are fitted to.

Why:
    Above about 20 dimensions every branch has to be visited: a matrix product with all points, or an approximate index,
    is faster.

How sure:
    A hint: data that lie on few dimensions are an exception.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.values import Const, Tensor

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


_TREES = ("kd_tree", "ball_tree")


@rule(code="TW760", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the points that trees are made of."""
    if not analysis.source.words & {"KDTree", "cKDTree", "BallTree", *_TREES}:
        return
    fitted = _fitted(analysis)
    for call in once_per_place(iter(analysis.all_calls)):
        points = call.argument(0, "data") if call.name.endswith(("KDTree", "BallTree")) else None
        if points is None and call.node in fitted:
            points = call.argument(0, "X")
        if isinstance(points, Tensor) and points.shape is not None and len(points.shape) == 2:
            size = points.shape[1]
            if size is not None and size > _MOST:
                yield Hit(
                    place=analysis.place(fitted.get(call.node, call.node), call.context),
                    message=f"a tree over {size} dimensions visits nearly every point for each query",
                    fix="Compare with all points by a matrix product, or use an approximate index.",
                )


def _fitted(analysis: Analysis) -> dict[ast.Call, ast.Call]:
    """Return the calls `.fit(points)` of what is told to make a tree, with the calls that tell it."""
    made = {call.node for call in analysis.all_calls if call.name.startswith("sklearn.") and _tells_a_tree(call)}
    found: dict[ast.Call, ast.Call] = {}
    for call in analysis.method_calls("fit", "fit_predict", "fit_transform") if made else ():
        func = call.node.func
        maker = followed(func.value, body_of(call.context)) if isinstance(func, ast.Attribute) else None
        if isinstance(maker, ast.Call) and maker in made:
            found[call.node] = maker
    return found


def _tells_a_tree(call: Call) -> bool:
    given = call.argument(None, "algorithm") or call.hidden.get("algorithm")
    return isinstance(given, Const) and given.value in _TREES
