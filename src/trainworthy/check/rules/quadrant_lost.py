"""An angle is taken by the arctangent of a quotient.

What it finds:
    `np.arctan(sine / cosine)`, `torch.atan(dy / dx)`, `math.atan((y2 - y1) / (x2 - x1))`,
    `torch.atan(out[:, 2] / out[:, 3])`.

Why:
    Both signs may change, but their quotient only has one: half of the directions come out as their opposites, and a
    cosine of zero divides by zero. `atan2` takes the two numbers.

How sure:
    Both parts are written as components of a direction: sine and cosine, dy and dx, two differences, or two columns of
    one output. A ratio of sizes or lengths, which are positive, has no quadrant to lose; a hint.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch

out = torch.nn.Linear(4, 2)(torch.rand(8, 4))
angle = torch.atan(out[:, 0] / out[:, 1])  # <- TW229
"""

GOOD = """\
import torch

out = torch.nn.Linear(4, 2)(torch.rand(8, 4))
angle = torch.atan2(out[:, 0], out[:, 1])
"""

_PAIRS = (("sin", "cos"), ("dy", "dx"), ("imag", "real"), ("diff_y", "diff_x"), ("delta_y", "delta_x"))
_SIZES = re.compile(
    r"width|height|size|focal|aspect|norm|dist|len|abs|\b[wh]\d?\b|\b[wh]_|_[wh]\b|sqrt|(?:^|_)[wh](?:_|$)|wh\b", re.I
)


@rule(code="TW229", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at arctangents."""
    if not analysis.source.words & {"arctan", "atan"}:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if called(node) not in ("arctan", "atan") or not isinstance(node, ast.Call):
            continue
        given = (
            node.args[0] if len(node.args) == 1 else node.func.value if isinstance(node.func, ast.Attribute) else None
        )
        if given is None:
            continue
        scope = scope_of(node, analysis.parents)
        quotient = followed(given, scope)
        if not isinstance(quotient, ast.BinOp) or not isinstance(quotient.op, ast.Div):
            continue
        if _are_components(quotient.left, quotient.right, scope):
            yield Hit(
                place=analysis.place(node),
                message="the quotient has lost the quadrant: opposite directions get the same angle",
                fix=f"Use `atan2({unparsed(quotient.left)}, {unparsed(quotient.right)})`.",
            )


def _are_components(above: ast.expr, below: ast.expr, scope: ast.AST) -> bool:
    """Say whether two expressions look like the two parts of a direction."""
    written = unparsed(above).lower(), unparsed(below).lower()
    if any(_SIZES.search(one) for one in written):
        return False
    if any(first in written[0] and second in written[1] for first, second in _PAIRS):
        return True
    above, below = followed(above, scope), followed(below, scope)
    if any(_SIZES.search(unparsed(one)) for one in (above, below)):
        return False
    if all(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) for one in (above, below)):
        return True
    columns = isinstance(above, ast.Subscript) and isinstance(below, ast.Subscript)
    if not columns or unparsed(above.value) != unparsed(below.value):  # type: ignore[attr-defined]
        return False
    last = [_column(one) for one in (above, below)]
    return None not in last and last[0] != last[1]


def _column(node: ast.expr) -> int | None:
    """Return which column a subscript takes, if it is written as a number."""
    at = node.slice if isinstance(node, ast.Subscript) else None
    if isinstance(at, ast.Tuple) and at.elts:
        at = at.elts[-1]
    numbers = [one.value for one in nodes_of(at, ast.Constant)] if at is not None else []
    return numbers[0] if isinstance(at, ast.Constant | ast.UnaryOp) and isinstance(numbers[0], int) else None
