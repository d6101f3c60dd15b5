"""Infinity is multiplied by a mask.

What it finds:
    `scores - np.inf * mask`, `mask * float("inf")` and `(1 - mask) * -math.inf`.

Why:
    0 times infinity is NaN: every place that the mask leaves alone becomes NaN, not only those that it hides.

How sure:
    The other factor is called a mask, or is a comparison or its conversion to numbers. Silent below `nan_to_num`.
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
import numpy as np
import torch


def act(q_value, ratio, log_tau):
    mask = (ratio < log_tau).float()
    return (q_value - np.inf * mask).argmax(dim=-1)  # <- TW219
"""

GOOD = """\
import torch


def act(q_value, ratio, log_tau):
    mask = ratio < log_tau
    return q_value.masked_fill(mask, float("-inf")).argmax(dim=-1)
"""

_INFINITY = re.compile(r"^-?((np|numpy|math|torch)\.(inf|Inf|infty)|float\(['\"][+-]?inf(inity)?['\"]\))$")
_INFINITIES = frozenset({"inf", "Inf", "infty", "infinity"})
_MASK = re.compile(r"mask|padding|valid|dones?$|\bis_", re.IGNORECASE)


@rule(code="TW219", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at products with infinity."""
    if analysis.source.words.isdisjoint(_INFINITIES):
        return
    for node in analysis.nodes.get(ast.BinOp, []):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for infinite, other in ((node.left, node.right), (node.right, node.left)):
                if _is_infinite(infinite) and _is_a_mask(other) and not _is_mended(node, analysis.parents):
                    yield Hit(
                        place=analysis.source.place(node),
                        message="0 times infinity is NaN",
                        fix="Use `masked_fill` or `torch.where`.",
                    )


def _is_mended(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether NaN is replaced at once, around the product or after it."""
    parent = parents.get(node)
    if isinstance(parent, ast.Attribute):
        return parent.attr.startswith("nan_to_num")
    name = getattr(parent.func, "attr", getattr(parent.func, "id", "")) if isinstance(parent, ast.Call) else ""
    return name == "nan_to_num"


def _is_infinite(node: ast.expr) -> bool:
    written = isinstance(node, ast.Attribute | ast.Call | ast.UnaryOp)
    return written and _INFINITY.match(unparsed(node)) is not None


def _is_a_mask(node: ast.expr) -> bool:
    """Say whether a factor is 0 somewhere: a mask, its opposite, a comparison."""
    if isinstance(node, ast.Compare):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return _is_a_mask(node.right)
    if isinstance(node, ast.UnaryOp):
        return _is_a_mask(node.operand)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and _is_a_mask(node.func.value)
    return isinstance(node, ast.Name | ast.Attribute) and bool(_MASK.search(unparsed(node).rpartition(".")[2]))
