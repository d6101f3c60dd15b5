"""A comparison with NaN by `==` or `!=`.

What it finds:
    `x == np.nan`, `x != float("nan")` and the like.

Why:
    NaN equals nothing, not even itself: the filter never matches, and NaN goes into training.

How sure:
    Certain.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Ref

BAD = """\
import numpy as np

x = np.array([1.0, np.nan])
clean = x[x != np.nan]  # <- TW205
"""

GOOD = """\
import numpy as np

x = np.array([1.0, np.nan])
clean = x[~np.isnan(x)]
"""


@rule(code="TW205", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons."""
    for operation in analysis.operations:
        node = operation.node
        if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        nodes = (node.left, *node.comparators)
        values = zip(operation.operands, nodes, strict=True)
        if any((isinstance(v, Ref) and v.name in _NAN) or _is_float_nan(n) for v, n in values):
            yield Hit(
                place=analysis.place(node, operation.context),
                message="NaN equals nothing, not even itself",
                fix="Use `isnan`.",
            )


_NAN = ("numpy.nan", "torch.nan", "math.nan")


def _is_float_nan(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "float":
        return False
    first = node.args[0] if node.args else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.lower() == "nan"
