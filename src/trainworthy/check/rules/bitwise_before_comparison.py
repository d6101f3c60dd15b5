"""`&` binds tighter than a comparison: `a >= b & mask` is `a >= (b & mask)`.

What it finds:
    A comparison one side of which is an `&` or `|` without parentheses, with a condition in it: a mask, another
    comparison, `np.all(...)`; and chains such as `x > 0 & y < 5`.

Why:
    What was to be two conditions is one comparison with another number. It has the right shape, and selects other
    elements.

How sure:
    Certain how Python reads it. Arithmetic with bits, `flags == value & 0xFF`, has no condition in it.
    Silent where both operands are one name: `a > b & b < c` means what it says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch


def neighbours(shared, threshold, mask):
    return shared >= threshold & mask  # <- TW813


def inside(x, y):
    return x[x > 0 & y < 5]  # <- TW813
"""

GOOD = """\
import torch


def neighbours(shared, threshold, mask):
    return (shared >= threshold) & mask


def inside(x, y):
    return x[(x > 0) & (y < 5)]
"""

_CONDITION = re.compile(r"mask|valid|^is_|^has_|_is_|keep|selected|inside", re.IGNORECASE)
_ANSWERS = frozenset(
    {"all", "any", "isin", "isnan", "isinf", "isfinite", "logical_not", "logical_and", "logical_or", "eq", "ne"}
)


@rule(code="TW813", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons."""
    if not analysis.source.words & {"torch", "numpy"} or not (
        "&" in analysis.source.code or "|" in analysis.source.code
    ):
        return
    for node in analysis.nodes.get(ast.Compare, []):
        if not isinstance(node, ast.Compare) or any(
            isinstance(one, ast.In | ast.NotIn | ast.Is | ast.IsNot) for one in node.ops
        ):
            continue
        sides = [node.left, *node.comparators]
        for at, side in enumerate(sides):
            if not isinstance(side, ast.BinOp) or not isinstance(side.op, ast.BitAnd | ast.BitOr):
                continue
            if _in_parentheses(analysis, side) or _is_one_name(side):
                continue
            middle = 0 < at < len(sides) - 1
            if middle or _is_condition(side.right if at else side.left):
                sign = "&" if isinstance(side.op, ast.BitAnd) else "|"
                yield Hit(
                    place=analysis.place(node),
                    message=f"`{sign}` binds tighter than the comparison: this compares with `{unparsed(side)}`",
                    fix="Put each comparison into parentheses.",
                )
                break


def _is_one_name(node: ast.BinOp) -> bool:
    """Say whether both operands are the same name, which is the result, too."""
    return isinstance(node.left, ast.Name) and isinstance(node.right, ast.Name) and node.left.id == node.right.id


def _in_parentheses(analysis: Analysis, node: ast.expr) -> bool:
    lines = analysis.source.lines
    before = lines[node.lineno - 1].encode()[: node.col_offset].decode(errors="ignore").rstrip()
    after = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset or 0 :].decode(errors="ignore").lstrip()
    return before.endswith("(") and after.startswith(")")


def _is_condition(node: ast.expr) -> bool:
    """Say whether an operand is an answer, not a number."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return True
    if isinstance(node, ast.Compare):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        return _is_condition(node.left) or _is_condition(node.right)
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", getattr(node.func, "id", "")) in _ANSWERS
    while isinstance(node, ast.Subscript):
        node = node.value
    name = getattr(node, "attr", getattr(node, "id", ""))
    return bool(name) and name != name.upper() and bool(_CONDITION.search(name))
