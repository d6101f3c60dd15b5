"""Two comparisons are added and the sum compared with 2.

What it finds:
    `((t > 0) + (t < 1)) == 2` on tensors or arrays.

Why:
    Comparisons are bool since torch 1.2, and the sum of bools is a logical or, never 2: the mask is all False.

How sure:
    Both summands are comparisons of tensors or arrays in the same expression.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.values import Const, Tensor

BAD = """\
import torch

t = torch.rand(10)
inside = (((t > 0.2) + (t < 0.8)) == 2).nonzero()  # <- TW104
"""

GOOD = """\
import torch

t = torch.rand(10)
inside = ((t > 0.2) & (t < 0.8)).nonzero()
count = ((t > 0.2).int() + (t < 0.8).int()) == 2
"""


@rule(code="TW104", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons of sums."""
    for operation in analysis.operations:
        node = operation.node
        if not isinstance(node, ast.Compare) or len(operation.operands) != 2:
            continue
        left, right = operation.operands
        summed = isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add)
        two = isinstance(right, Const) and isinstance(right.value, int) and right.value >= 2
        if summed and two and isinstance(left, Tensor) and left.dtype == "bool":
            yield Hit(
                place=analysis.place(node, operation.context),
                message="the sum of two bool tensors is a logical or, never more than 1",
                fix="Join the conditions with `&`.",
            )
