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

from trainworthy.check.dry.rows import batch_size, place_of, rows
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
from trainworthy.formulas.broadcast import doubly_expanded
from trainworthy.tape.record import Op, Signature, Tape, TensorInfo

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


_ELEMENTWISE = ("sub", "add", "mul", "div", "rsub")


_LOSSES_live = ("mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss")


@rule(code="TW101", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield lines of the reference step where a prediction and data meet so."""
    last = tape.segments[-1].step if tape.segments else None  # an evaluation after the steps stands there
    if not any(_may_be(row.signature) for step in {tape.reference_step, last} for row in rows(tape, step)):
        return
    size = batch_size(tape)
    columns, tables = _WrittenColumns(), _Tables(size)
    for op in tape.ops:
        if op.phase not in ("data", "forward", "loss", "other") or op.step not in (tape.reference_step, last):
            continue
        columns.note(op)
        if op.phase == "data":
            continue
        if op.step != tape.reference_step:
            found = _compared(op, columns)
        else:
            found = _operands(op, size, columns) or _indexed(op, size, columns) or _compared(op, columns)
        if found is not None:
            yield _hit(op, found, tape)
        elif op.step == tape.reference_step:
            yield from (_hit(*table, tape) for table in tables.see(op, columns))


_Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # of two operands and their result


def _hit(op: Op, shapes: _Shapes, tape: Tape) -> Hit:
    a, b, result = shapes
    met = next(n for n in result if result.count(n) >= 2)
    return Hit(
        place=place_of(op.source, tape),
        message=f"{op.name.partition('.')[0]} of {_shape(a)} and {_shape(b)} gives {_shape(result)}: each of the {met} "
        "samples meets every other",
        evidence=(Evidence(alignment(a, b, result)),),
        fix="Give both the same shape: prediction.squeeze(-1), or target.unsqueeze(-1).",
    )


class _Tables:
    """Tables that a column and a row without gradients give, until one meets a row of predictions."""

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._made: dict[int, tuple[Op, _Shapes]] = {}  # by the storage of the table

    def see(self, op: Op, columns: _WrittenColumns) -> Iterator[tuple[Op, _Shapes]]:
        """Yield the operation that made a table, when predictions are compared with it."""
        name = op.name.partition(".")[0]
        if len(op.inputs) < 2 or self._size is None or not op.outputs:
            return
        a, b = op.inputs[:2]
        table = self._made.get(a.storage) or self._made.get(b.storage)
        if table is None:
            result = doubly_expanded(a.shape, b.shape) if op.phase == "other" and name in _ELEMENTWISE else None
            if result == (self._size, self._size) and not columns.has(a, b):
                self._made[op.outputs[0].storage] = op, (a.shape, b.shape, result)
            return
        other = b if a.storage in self._made else a
        if other.kind == "activation" and _before_expanding(other) in ((self._size,), (self._size, 1)):
            if name in ("sub", "rsub", *_LOSSES_live):
                yield table
        elif op.phase == "other" and op.outputs[0].shape == (self._size, self._size):
            self._made[op.outputs[0].storage] = table


def _may_be(signature: Signature) -> bool:
    """Tell, before anything is unfolded, whether the shapes are those of such an operation."""
    name, shapes = signature.name.partition(".")[0], [t.shape for t in signature.inputs[:2]]
    if len(shapes) < 2:
        return False
    if name == "index":
        return len(signature.inputs) == 3 and doubly_expanded(*(t.shape for t in signature.inputs[1:])) is not None
    return name in _LOSSES_live or (name in (*_ELEMENTWISE, "eq") and doubly_expanded(*shapes) is not None)


class _WrittenColumns:
    """Views and reductions that make a column on purpose: what meets a row through them is a table of pairs."""

    _MAKERS = frozenset(
        "unsqueeze view slice expand _unsafe_view select sum mean norm linalg_vector_norm amax amin max min logsumexp "
        "diagonal cat stack".split()
    )

    def __init__(self) -> None:
        self._seen: set[tuple[int, tuple[int, ...]]] = set()

    def note(self, op: Op) -> None:
        """Remember the result of an operation that adds an axis or keeps one."""
        if op.name.partition(".")[0] in self._MAKERS:
            self._seen.update((t.storage, t.shape) for t in op.outputs)

    def has(self, a: TensorInfo, b: TensorInfo) -> bool:
        """Tell whether one of two tensors was written as a column, or both are one tensor."""
        return a.storage == b.storage or any((t.storage, t.shape) in self._seen for t in (a, b) if len(t.shape) > 1)


def _operands(op: Op, size: int | None, columns: _WrittenColumns) -> _Shapes | None:
    """Return the two shapes and that of the result, if an operation is such a broadcast."""
    name = op.name.partition(".")[0]
    if len(op.inputs) < 2:
        return None
    a, b = op.inputs[:2]
    data = [t.kind == "input" for t in (a, b)]
    one_is_data = op.phase != "other" and data[0] != data[1]
    neither = not any(data) and op.phase in ("forward", "loss") and not columns.has(a, b)
    compared = name == "eq" and not all(data) and not columns.has(a, b)
    if (compared or (name in _ELEMENTWISE and (one_is_data or neither))) and "parameter" not in (a.kind, b.kind):
        result = doubly_expanded(a.shape, b.shape)
        both = size is not None and size > 1 and size in a.shape and size in b.shape
        return (a.shape, b.shape, result) if result is not None and both and result.count(size) >= 2 else None
    if name in _LOSSES_live and a.shape == b.shape:  # expanded before: strides of 0
        small_a, small_b = _before_expanding(a), _before_expanding(b)
        twice = any(n > 1 and n in small_b and a.shape.count(n) >= 2 for n in small_a)
        if twice and small_a != a.shape and small_b != b.shape and len(small_a) != len(small_b):
            return small_a, small_b, a.shape
    return None


def _indexed(op: Op, size: int | None, columns: _WrittenColumns) -> _Shapes | None:
    """Return the shapes of two indices of a table, `logp[rows, labels]`, if the labels are a column.

    A block of a table that is meant names its rows as the column: `logp[rows[:, None], labels]`.
    """
    if not op.name.startswith("index.") or len(op.inputs) != 3 or size is None or columns.has(*op.inputs[1:]):
        return None
    a, b = op.inputs[1].shape, op.inputs[2].shape
    return (a, b, (size, size)) if size > 1 and (a, b) == ((size,), (size, 1)) else None


def _compared(op: Op, columns: _WrittenColumns) -> _Shapes | None:
    """Return the shapes of what an evaluation compares, whose batch may be another than that of training."""
    if not op.name.startswith("eq.") or op.phase != "other" or len(op.inputs) < 2 or columns.has(*op.inputs[:2]):
        return None
    a, b = op.inputs[0].shape, op.inputs[1].shape
    result = doubly_expanded(a, b)
    square = result is not None and len(result) == 2 and result[0] == result[1]
    return (a, b, result) if result is not None and square and {t.kind for t in op.inputs} != {"input"} else None


def _before_expanding(tensor: TensorInfo) -> tuple[int, ...]:
    shape = tuple(1 if stride == 0 else n for n, stride in zip(tensor.shape, tensor.stride, strict=True))
    while shape and shape[0] == 1 and tensor.shape[len(tensor.shape) - len(shape)] > 1:
        shape = shape[1:]
    return shape
