"""`contiguous()` after a view, which needs none.

What it finds:
    `x.view(...).contiguous()`, also of a clone of the view.

Why:
    `view` only works where no copy is needed and leaves the order in memory as it is, so there is nothing to mend.
    `transpose`, `permute`, `expand` and slices are what makes a tensor non-contiguous, and then it is `view` that
    fails, before `contiguous()` is reached.

How sure:
    The call does nothing, except for a slice that is viewed without being merged, of which nothing is said where the
    slice is seen. It does no harm, either.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, subject
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch

x = torch.rand(8, 12)
y = x.view(8, 3, 4).contiguous()  # <- TW163
"""

GOOD = """\
import torch

x = torch.rand(8, 12)
y = x.view(8, 3, 4).transpose(1, 2).contiguous()
"""


_TURNS = frozenset({"permute", "transpose", "t", "expand", "narrow", "movedim", "swapaxes"})  # which a view may split


@rule(code="TW163", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what `contiguous` is called on."""
    if "contiguous" not in analysis.source.words:
        return
    for call in once_per_place(analysis.method_calls("contiguous")):
        func = call.node.func
        made = func.value if isinstance(func, ast.Attribute) else None
        if call.node.args or call.node.keywords or made is None or call.context.source is not analysis.source:
            continue
        if _is_view(_uncloned(made)):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="`contiguous()` after `view` does nothing: a view keeps the order in memory",
                fix="Leave `.contiguous()` out.",
            )


def _is_view(node: ast.expr | None) -> bool:
    view = node.func if isinstance(node, ast.Call) else None
    if not isinstance(view, ast.Attribute) or view.attr != "view" or isinstance(view.value, ast.Subscript):
        return False
    return called(view.value) not in _TURNS


def _uncloned(node: ast.expr | None) -> ast.expr | None:
    """Look through `torch.clone(x)` and `x.clone()`, which keep the order in memory of what has no holes."""
    while isinstance(node, ast.Call) and called(node) in ("clone", "detach") and not node.keywords:
        node = subject(node)
    return node
