"""Two operands of different rank stretch each other.

What it finds:
    Arithmetic or a loss on shapes such as (64, 1) and (64,), whose result (64, 64) is larger than both.

Why:
    The shorter shape is aligned at the right. Nothing fails: the loss averages 64 times as many terms, most of them
    between samples that have nothing to do with each other, and training learns the mean.

How sure:
    Both shapes are known from the source, both stretch, and one size occurs twice in the result. A table of all pairs
    that is meant (`a[:, None] - b`) names its new axis in the expression and is not reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tensors import broadcast
from trainworthy.check.static.values import Shape, Tensor, Value

BAD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F

model = nn.Linear(3, 1)
prediction = model(torch.rand(64, 3))
target = torch.rand(64)
loss = F.mse_loss(prediction, target)  # <- TW101
error = (prediction - target).abs()  # <- TW101
"""

GOOD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F

model = nn.Linear(3, 1)
prediction = model(torch.rand(64, 3)).squeeze(1)
target = torch.rand(64)
loss = F.mse_loss(prediction, target)
error = (prediction - target).abs()
pairs = target[:, None] - target
"""


_LOSSES = tuple(
    f"torch.nn.functional.{name}" for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
) + tuple(f"torch.nn.{name}.__call__" for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"))


@rule(code="TW101", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at losses, then at operators."""
    for call in analysis.calls(*_LOSSES):
        pair = (call.argument(0, "input"), call.argument(1, "target"))
        if all(isinstance(one, Tensor) for one in pair):
            yield from _hits(analysis, call.node, call, pair[0], pair[1])
    for operation in analysis.operations:
        node = operation.node
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
            yield from _hits(analysis, node, operation, *operation.operands)


def _hits(analysis: Analysis, node: ast.AST, fact: object, left: Value | None, right: Value | None) -> Iterator[Hit]:
    if not isinstance(left, Tensor) or not isinstance(right, Tensor):
        return
    a, b = left.shape, right.shape
    if a is None or b is None or len(a) == len(b):
        return
    out = broadcast(a, b)
    if out is None or out in (a, b) or not _repeats(a, b, out) or _says_so(node):
        return
    context = getattr(fact, "context", None)
    yield Hit(
        place=analysis.place(node, context),
        message=f"{_text(a)} and {_text(b)} broadcast to {_text(out)}",
        evidence=(Evidence(_drawing(a, b, out)),),
        fix="Give both the same rank: `.squeeze(-1)` on one, or `.unsqueeze(-1)` on the other.",
    )


def _repeats(a: Shape, b: Shape, out: Shape) -> bool:
    """Say whether a size of both operands stands twice in the result: the batch, met with itself."""
    return any(size is not None and size > 1 and size in a and size in b and out.count(size) > 1 for size in out)


def _says_so(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Constant) and one.value is None for one in ast.walk(node)) or any(
        getattr(one, "attr", "") in ("newaxis", "unsqueeze", "expand_dims", "view", "reshape") for one in ast.walk(node)
    )


def _text(shape: Shape) -> str:
    inner = ", ".join("?" if size is None else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _drawing(a: Shape, b: Shape, out: Shape) -> str:
    rows = [("left", a), ("right", b), ("result", out)]
    width = max(len(str(size)) for size in out)
    lines = []
    for name, shape in rows:
        cells = ["·"] * (len(out) - len(shape)) + ["?" if size is None else str(size) for size in shape]
        lines.append(f"{name:>6}  " + "  ".join(cell.rjust(width) for cell in cells))
    return "\n".join(lines)
