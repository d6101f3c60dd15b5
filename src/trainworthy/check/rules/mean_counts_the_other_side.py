"""A masked mean adds up one side of its mask and counts the other.

What it finds:
    `x.masked_fill(mask, 0).sum() / mask.sum()`, which keeps the places that are not in the mask and divides by the
    number of those that are, `(x * mask).sum() / (~mask).sum()`, and the same in several statements.

Why:
    The loss is that of the padding, or of the places that were to be left out; and it is scaled by how many the others
    are. It is a plausible number.

How sure:
    Both stand in one function, and the mask is the same name, not bound anew between. Silent if the count is a
    difference.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.masks import Side, is_zero, side_of
from trainworthy.check.static.source import Source

BAD = """\
import torch.nn.functional as F


def masked_loss(x, target, mask):
    loss = F.mse_loss(x, target, reduction="none")
    loss = loss.masked_fill(mask, 0.0)
    total = loss.sum(dim=-1)
    count = mask.sum(dim=-1).clamp(min=1e-5)
    return (total / count).mean()  # <- TW222
"""

GOOD = """\
import torch.nn.functional as F


def masked_loss(x, target, mask):
    loss = F.mse_loss(x, target, reduction="none")
    loss = loss.masked_fill(~mask, 0.0)
    total = loss.sum(dim=-1)
    count = mask.sum(dim=-1).clamp(min=1e-5)
    return (total / count).mean()
"""


@rule(code="TW222", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at quotients of sums in functions that apply a mask."""
    words = analysis.source.words
    if not {"torch", "sum"} <= words or not any("mask" in one for one in words):
        return
    for one in (*analysis.nodes.get(ast.BinOp, []), *analysis.nodes.get(ast.Call, [])):
        quotient = _quotient(one)
        function = function_around(analysis.parents, one) if quotient is not None else None
        found = (
            _other_side(analysis.source, bindings_of(function), *quotient)
            if function is not None and quotient is not None
            else None
        )
        if found is not None:
            kept, at = found
            yield Hit(
                place=analysis.place(one),
                message=f"the sum is over the places {'in' if kept.of_mask else 'outside of'} `{kept.mask}`, and is "
                f"divided by the number of those {'outside of' if kept.of_mask else 'in'} it",
                evidence=(Evidence("the others are set to 0 here", analysis.place(at)),),
                fix="Use the same side of the mask for both.",
            )


def _quotient(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return node.left, node.right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("div", "divide"):
        return (node.func.value, node.args[0]) if len(node.args) == 1 else None
    return None


def _other_side(source: Source, names: Bindings, above: ast.expr, below: ast.expr) -> tuple[Side, ast.AST] | None:
    """Return the side of a mask that is summed up, and where, if the other one is counted."""
    counted = _counted(source, names, below)
    if counted is None:
        return None
    parts = list(names.written_out(above))
    if not any(_is_a_sum(one) for one in parts):
        return None
    kept = [
        (side, one)
        for one in parts
        if (side := _kept(source, names, one)) is not None and side.is_of_same_mask(counted)
    ]
    if kept and all(side.of_mask != counted.of_mask for side, _ in kept):
        return kept[0]
    return None


def _counted(source: Source, names: Bindings, below: ast.expr) -> Side | None:
    """Return the one side of one mask whose places an expression counts."""
    parts = list(names.written_out(below))
    if any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub | ast.Mult) for one in parts):
        return None
    sums = [one for one in parts if isinstance(one, ast.Call) and _is_a_sum(one)]
    if len(sums) != 1:
        return None
    call = sums[0]
    func = call.func
    of_torch = isinstance(func, ast.Attribute) and bool(library_of(source, func.value))
    subject = call.args[0] if of_torch and call.args else func.value if isinstance(func, ast.Attribute) else None
    return side_of(names, subject) if subject is not None else None


def _is_a_sum(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    reduced = name == "reduce" and any(isinstance(one, ast.Constant) and one.value == "sum" for one in node.args)
    return name in ("sum", "count_nonzero") or reduced


def _kept(source: Source, names: Bindings, node: ast.AST) -> Side | None:
    """Return the side of a mask that a product or a filling with 0 leaves as it is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("masked_fill"):
        given = node.args[1:] if library_of(source, node.func.value) else node.args
        side = side_of(names, given[0]) if len(given) == 2 and is_zero(given[1]) else None
        return None if side is None else side.other
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = [side for one in (node.left, node.right) if (side := side_of(names, one)) is not None]
        return sides[0] if len(sides) == 1 else None
    return None
