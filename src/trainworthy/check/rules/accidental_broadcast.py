"""Two operands of different rank stretch each other.

What it finds:
    Arithmetic or a loss on shapes such as (64, 1) and (64,), whose result (64, 64) is larger than both. Also where the
    sizes are unknown: `(x * w).sum(1) / w.sum(1, keepdim=True)`, of which one keeps the axis and the other does not;
    and the loss of `nn.Linear(width, 1)` and a target of one axis, as its making, a docstring or a comment says.

Why:
    The shorter shape is aligned at the right. Nothing fails: the loss averages 64 times as many terms, most of them
    between samples that have nothing to do with each other, and training learns the mean.

How sure:
    Both shapes are known from the source, both stretch, and one size occurs twice in the result. A table of all pairs
    that is meant (`a[:, None] - b`) names its new axis, or a grid (`torch.linspace`), in the expression and is not
    reported.

In real steps:
    An arithmetic operation or a loss whose operands have different rank, such as (64, 1) and (64,), so that both grow
    and the result holds the batch size twice: (64, 64). One side is the model's and has a gradient, the other not. On a
    rehearsal also `hits = guess == labels` of an evaluation, and a table of log-probabilities that is indexed by
    (rows, labels) of which one is a column.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.dry.pairs import Shapes, pairs_of_samples
from trainworthy.check.dry.rows import place_of
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static import kept_axes
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, integer
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tensors import broadcast
from trainworthy.check.static.tree import nodes_of, walk
from trainworthy.check.static.values import Shape, Tensor, Value
from trainworthy.check.static.written_shapes import meet_as_a_table
from trainworthy.tape.record import Op, Tape

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
        hits = list(_hits(analysis, call.node, call, pair[0], pair[1]))
        yield from hits
        if not hits and meet_as_a_table(call, call.argument_node(0, "input"), call.argument_node(1, "target")):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="a column, of shape (..., 1), meets a row of one number per sample: the loss is over all pairs",
                fix="Give both the same rank: `.squeeze(-1)` on one, or `.unsqueeze(-1)` on the other.",
            )
    for operation in analysis.operations:
        node = operation.node
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.MatMult):
            yield from _hits(analysis, node, operation, *operation.operands)
    for node, axis in kept_axes.met(analysis):
        yield Hit(
            place=analysis.place(node),
            message=f"one side keeps axis {axis} as a 1, the other drops it: every sample meets every other",
            fix="Write `keepdim=True` on both sides, or on neither.",
        )


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
    if context is not None and _lays_over_a_grid(node, body_of(context)):
        return
    yield Hit(
        place=analysis.place(node, context),
        message=f"{_text(a)} and {_text(b)} broadcast to {_text(out)}",
        evidence=(Evidence(_drawing(a, b, out)),),
        fix="Give both the same rank: `.squeeze(-1)` on one, or `.unsqueeze(-1)` on the other.",
    )


def _repeats(a: Shape, b: Shape, out: Shape) -> bool:
    """Say whether a size of both operands stands twice in the result: the batch, met with itself."""
    return any(size is not None and size > 1 and size in a and size in b and out.count(size) > 1 for size in out)


# What gives an axis, or makes a grid that each row of a table is laid over.
_NEW_AXES = ("newaxis", "unsqueeze", "expand_dims", "view", "reshape", "linspace", "arange", "logspace")


def _says_so(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Constant) and one.value is None for one in walk(node)) or any(
        getattr(one, "attr", "") in _NEW_AXES for one in walk(node)
    )


_MAKERS = frozenset("rand randn zeros ones full empty normal uniform randint standard_normal".split())


def _lays_over_a_grid(node: ast.AST, scope: ast.AST) -> bool:
    """Say whether a column that is made on the spot, `torch.rand(n, 1)`, meets a name that was given a grid."""
    calls = nodes_of(node, ast.Call)
    if not any(called(one) in _MAKERS and any(_ends_in_one(given) for given in _sizes(one)) for one in calls):
        return False
    return any(called(followed(one, scope)) in _NEW_AXES for one in nodes_of(node, ast.Name))


def _sizes(call: ast.Call) -> Iterator[list[ast.expr]]:
    """Yield what may be the sizes that a call is given: its arguments, or one that is a tuple."""
    yield call.args
    for one in (*call.args, *(each.value for each in call.keywords)):
        if isinstance(one, ast.Tuple | ast.List):
            yield one.elts


def _ends_in_one(sizes: list[ast.expr]) -> bool:
    return len(sizes) > 1 and integer(sizes[-1]) == 1


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


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randn(8)
    loss = ((model(x) - y) ** 2).mean()  # <- TW101
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
table = torch.arange(8.0).unsqueeze(1) * torch.randn(4)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randn(8)
    prediction = model(x).squeeze(1)
    pairs = (prediction.unsqueeze(1) - prediction).abs().mean()
    loss = ((prediction - y) ** 2).mean() + 0.01 * pairs
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW101", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line that did so in two steps, or twice in an evaluation after them."""
    for place in dict.fromkeys(b.place for b in facts.broadcasts):
        found = [b for b in facts.broadcasts if b.place == place]
        first = found[0]
        steps = {b.step for b in found}
        times = len(found) if steps == {facts.num_steps} else len(steps)
        if times < min(2, max(facts.num_steps, 1)):
            continue
        a, b = first.shapes
        yield Hit(
            place=place,
            message=f"{first.op} of {_shape(a)} and {_shape(b)} gives {_shape(first.result)}: each of the "
            f"{first.batch} "
            "samples meets every other",
            evidence=(Evidence(alignment(a, b, first.result)),),
            fix="Give both the same shape: prediction.squeeze(-1), or target.unsqueeze(-1).",
        )


def alignment(a: tuple[int, ...], b: tuple[int, ...], result: tuple[int, ...]) -> str:
    """Draw how two shapes meet: right-aligned, a dot where a dimension is added."""
    rows = [("left", a), ("right", b), ("result", result)]
    width = max(len(str(n)) for n in result) + 2
    lines = []
    for name, shape in rows:
        cells = ["·"] * (len(result) - len(shape)) + [str(n) for n in shape]
        lines.append(f"{name:<6}" + "".join(cell.rjust(width) for cell in cells))
    return "\n".join(lines)


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


@rule(code="TW101", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield lines where a prediction and data meet so."""
    for op, shapes in pairs_of_samples(tape):
        yield _hit(op, shapes, tape)


def _hit(op: Op, shapes: Shapes, tape: Tape) -> Hit:
    a, b, result = shapes
    met = next(n for n in result if result.count(n) >= 2)
    return Hit(
        place=place_of(op.source, tape),
        message=f"{op.name.partition('.')[0]} of {_shape(a)} and {_shape(b)} gives {_shape(result)}: each of the {met} "
        "samples meets every other",
        evidence=(Evidence(alignment(a, b, result)),),
        fix="Give both the same shape: prediction.squeeze(-1), or target.unsqueeze(-1).",
    )
