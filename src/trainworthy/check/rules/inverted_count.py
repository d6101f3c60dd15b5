"""`~` is applied to a sum instead of to the mask that is summed.

What it finds:
    `~mask.sum(dim=-1)`, `~mask.long()` and the like: the call binds more strongly than `~`.

Why:
    The number of padded places n becomes -n - 1 by its bits, where the number of others is meant. No error is raised.

How sure:
    Certain: the methods return numbers, and the bits of a count or of a cast mask have no use here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch


def lengths(padding_mask):
    return ~padding_mask.sum(dim=-1)  # <- TW231
"""

GOOD = """\
import torch


def lengths(padding_mask):
    return (~padding_mask).sum(dim=-1)
"""

_COUNTS = frozenset({"sum", "long", "int", "cumsum", "count_nonzero", "argmax", "numel", "nonzero"})


@rule(code="TW231", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is inverted."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    for node in analysis.nodes.get(ast.UnaryOp, []):
        if not isinstance(node, ast.UnaryOp) or not isinstance(node.op, ast.Invert):
            continue
        call = node.operand
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _COUNTS:
            yield Hit(
                place=analysis.place(node),
                message=f"`~` inverts the bits of the number that `{call.func.attr}` returns",
                fix=f"Write `(~{unparsed(call.func.value)}).{call.func.attr}(...)`.",
            )
