"""A KD-tree in many dimensions is slower than looking at every point.

What it finds:
    `KDTree`, `cKDTree` or `BallTree` of an array whose second size is written out, or that of the
    last layer of the network that made it, and above 20; also what
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
from trainworthy.check.static.assigned import called, followed, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.values import Const, Instance, Sequence, Tensor

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
        name = "data" if call.name.endswith(("KDTree", "BallTree")) else "X" if call.node in fitted else ""
        size = _dimensions(analysis, call, name) if name else None
        if size is not None and size > _MOST:
            yield Hit(
                place=analysis.place(fitted.get(call.node, call.node), call.context),
                message=f"a tree over {size} dimensions visits nearly every point for each query",
                fix="Compare with all points by a matrix product, or use an approximate index.",
            )


def _dimensions(analysis: Analysis, call: Call, name: str) -> int | None:
    """Return the second size of the points that a call is given, or how many numbers the network has that made them."""
    points, node = call.argument(0, name), call.argument_node(0, name)
    if isinstance(points, Tensor) and points.shape is not None:
        return points.shape[1] if len(points.shape) == 2 else None
    for _ in range(8):
        node = followed(node, body_of(call.context)) if node is not None else None
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            node = node.value
        elif isinstance(node, ast.Call) and called(node) in _SAME_SIZE:
            node = subject(node)
    made = analysis.call_at.get(node) if isinstance(node, ast.Call) else None
    owner = made.owner if made is not None and made.name.endswith("__call__") else None
    while isinstance(owner, Instance) and owner.type == "torch.nn.Sequential":
        held = owner.attrs.get("")
        owner = held.items[-1] if isinstance(held, Sequence) and held.items else None
    if not isinstance(owner, Instance) or owner.type != "torch.nn.Linear" or owner.made_by is None:
        return None
    size = owner.made_by.constant(1, "out_features")
    return size if isinstance(size, int) else None


_SAME_SIZE = frozenset(
    "numpy cpu detach float double astype contiguous normalize asarray array ascontiguousarray".split()
)


def _fitted(analysis: Analysis) -> dict[ast.Call, ast.expr]:
    """Return the calls `.fit(points)` of what is told to make a tree, with the call, or the dict, that tells it."""
    made = {
        call.node: _told(call)
        for call in analysis.all_calls
        if call.name.startswith("sklearn.") and _tells_a_tree(call)
    }
    found: dict[ast.Call, ast.expr] = {}
    for call in analysis.method_calls("fit", "fit_predict", "fit_transform") if made else ():
        func = call.node.func
        maker = followed(func.value, body_of(call.context)) if isinstance(func, ast.Attribute) else None
        if isinstance(maker, ast.Call) and maker in made:
            found[call.node] = made[maker]
    return found


def _tells_a_tree(call: Call) -> bool:
    given = call.argument(None, "algorithm") or call.hidden.get("algorithm")
    return isinstance(given, Const) and given.value in _TREES


def _told(call: Call) -> ast.expr:
    """Return the call, or the dict whose entries it is given, where the algorithm is written."""
    hidden = [one.value for one in call.node.keywords if one.arg is None] if "algorithm" in call.hidden else []
    return followed(hidden[0], body_of(call.context)) if len(hidden) == 1 else call.node
