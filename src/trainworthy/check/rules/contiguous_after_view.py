"""`contiguous()` after a view, which needs none.

What it finds:
    `x.view(...).contiguous()`, also of a clone of the view, and of a view that the statement above gave a name.

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
        if _is_view(_uncloned(_given_right_above(made, analysis))):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="`contiguous()` after `view` does nothing: a view keeps the order in memory",
                fix="Leave `.contiguous()` out.",
            )


def _is_view(node: ast.expr | None) -> bool:
    view = node.func if isinstance(node, ast.Call) else None
    return isinstance(view, ast.Attribute) and view.attr == "view" and not isinstance(view.value, ast.Subscript)


def _uncloned(node: ast.expr | None) -> ast.expr | None:
    """Look through `torch.clone(x)` and `x.clone()`, which keep the order in memory of what has no holes."""
    while isinstance(node, ast.Call) and called(node) in ("clone", "detach") and not node.keywords:
        node = subject(node)
    return node


def _given_right_above(node: ast.expr, analysis: Analysis) -> ast.expr | None:
    """Return what the statement before its own gives a name; other expressions as they are."""
    if not isinstance(node, ast.Name):
        return node
    at: ast.AST = node
    while at in analysis.parents and not isinstance(at, ast.stmt):
        at = analysis.parents[at]
    for body in vars(analysis.parents[at]).values():
        place = body.index(at) if isinstance(body, list) and at in body else 0
        above = body[place - 1] if place else None
        if isinstance(above, ast.Assign) and [getattr(one, "id", "") for one in above.targets] == [node.id]:
            return above.value
    return None
