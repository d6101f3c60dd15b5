"""Numbers that may be negative are cast to bytes.

What it finds:
    `.astype(np.uint8)`, `.astype(image.dtype)`, `.to(torch.uint8)` or `.byte()` of random numbers around zero, or of an
    image plus such noise, that nothing clips.

Why:
    -1 becomes 255: a pixel that should get darker becomes white, and a random shift goes one way only.

How sure:
    The numbers are drawn from a normal distribution or an interval that begins below zero, and no `clip`, `clamp`,
    `abs` or `%` is on the way. The type of an image is taken to be bytes where the program works with OpenCV.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, keyword, scope_of, subject
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import numpy as np


def noisy(image):
    noise = np.random.normal(0, 10, image.shape)
    return (image + noise).astype(np.uint8)  # <- TW518
"""

GOOD = """\
import numpy as np


def noisy(image):
    noise = np.random.normal(0, 10, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
"""

_NORMAL = frozenset({"normal", "randn", "standard_normal", "randn_like", "gauss", "normalvariate"})
_INTERVALS = frozenset({"uniform", "randint", "integers", "uniform_", "randrange", "random_integers"})
_SAME = frozenset({"astype", "reshape", "round", "view", "squeeze", "copy", "numpy", "float", "int", "repeat", "cpu"})


@rule(code="TW518", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at casts to bytes."""
    if not analysis.source.words & {"uint8", "dtype", "byte"} or not analysis.source.words & (_NORMAL | _INTERVALS):
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) not in ("astype", "to", "byte", "uint8"):
            continue
        cast = subject(node)
        if cast is None or not _is_to_bytes(analysis, node):
            continue
        drawn = _signed(cast, scope_of(node, analysis.parents))
        if drawn is not None:
            yield Hit(
                place=analysis.place(node),
                message="numbers below zero wrap around in this cast to bytes",
                evidence=(Evidence("they are drawn around zero here", analysis.place(drawn)),),
                fix="Clip to 0 and 255 first; keep an offset in a signed type.",
            )


def _is_to_bytes(analysis: Analysis, node: ast.Call) -> bool:
    if called(node) in ("byte", "uint8"):
        return called(node) == "uint8" or not node.args
    kind = node.args[0] if node.args else keyword(node, "dtype")
    if kind is None or isinstance(kind, ast.Call):
        return False
    kind = followed(kind, scope_of(node, analysis.parents))
    if isinstance(kind, ast.Attribute) and kind.attr == "dtype":
        return "cv2" in analysis.source.words and unparsed(kind.value).lower().startswith(("im", "self.im"))
    return getattr(kind, "attr", "") == "uint8" or (isinstance(kind, ast.Constant) and kind.value == "uint8")


def _signed(node: ast.expr, scope: ast.AST, depth: int = 8) -> ast.expr | None:
    """Return the draw from around zero that an expression goes below zero by; None if it may not."""
    node = followed(node, scope)
    if depth == 0:
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        sides = (node.left, node.right)
        moved = isinstance(node.op, ast.Add) and any(isinstance(one, ast.Constant) for one in sides)
        if moved:
            return None
        return next((found for one in sides if (found := _signed(one, scope, depth - 1))), None)
    if isinstance(node, ast.Subscript):
        return _signed(node.value, scope, depth - 1)
    if not isinstance(node, ast.Call):
        return None
    if called(node) in _NORMAL:
        return node if _mean_is_small(node) else None
    if called(node) in _INTERVALS:
        low = node.args[0] if len(node.args) > 1 else keyword(node, "low", "from_", "a")
        return node if low is not None and _is_negative(low) else None
    inner = subject(node) if called(node) in _SAME else None
    return None if inner is None else _signed(inner, scope, depth - 1)


def _mean_is_small(node: ast.Call) -> bool:
    """Say whether the mean of a normal distribution is zero, or not given as a number far from it."""
    mean = node.args[0] if called(node) in ("normal", "gauss") and node.args else keyword(node, "loc", "mean")
    return not (isinstance(mean, ast.Constant) and isinstance(mean.value, int | float) and mean.value > 0)


def _is_negative(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and not any(isinstance(one, ast.UnaryOp) for one in walk(node.operand))
    )
