"""`zip` of data and labels stops at the shorter one.

What it finds:
    `zip(xs, ys)` without `strict=`, and `map` over two or more by a lambda that only puts them side by side.

Why:
    If one is shorter, the rest is dropped silently.

How sure:
    Not on by default: whether the lengths differ is not known. ruff's B905 is the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

xs, ys = [1, 2, 3], [1, 2]
for x, y in zip(xs, ys):  # <- TW501
    print(x, y)
"""

GOOD = """\
import torch

xs, ys = [1, 2, 3], [1, 2, 3]
for x, y in zip(xs, ys, strict=True):
    print(x, y)
"""


@rule(code="TW501", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    for call in once_per_place(analysis.calls("builtins.zip")):
        if len(call.args) > 1 and not call.has(None, "strict"):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="zip stops at the shorter one without a word",
                fix="Pass `strict=True`.",
            )
    for call in once_per_place(analysis.calls("builtins.map")):
        if len(call.node.args) > 2 and _is_a_pair(call.node.args[0]):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="map stops at the shortest one without a word",
                fix="Write `zip(..., strict=True)`.",
            )


def _is_a_pair(function: ast.expr) -> bool:
    """Say whether a lambda gives its arguments as they are, in a tuple or a list."""
    if not isinstance(function, ast.Lambda) or not isinstance(function.body, ast.Tuple | ast.List):
        return False
    names = {one.arg for one in function.args.args}
    return len(names) > 1 and {getattr(one, "id", "") for one in function.body.elts} == names
