"""Two operands of a loss broadcast to every pair of samples.

What it finds:
    An arithmetic operation or a loss whose operands have different rank, such as (64, 1) and (64,), so that both grow
    and the result holds the batch size twice: (64, 64). One side is the model's and has a gradient, the other not.

Why:
    The mean over all pairs is still a number, it still falls, and the model learns the mean of the labels.

How sure:
    Sure of the shapes. Silent if both sides or neither have a gradient (a table of pairs), if ranks are equal, or if
    the batch size is not in both operands. It is wrong where every prediction is compared with every label on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import batch_size, place_of, rows
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.formulas.broadcast import doubly_expanded
from trainworthy.tape.record import Op, Signature, Tape, TensorInfo

BAD = """\
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
GOOD = """\
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
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line that did so in two steps."""
    for place in dict.fromkeys(b.place for b in facts.broadcasts):
        found = [b for b in facts.broadcasts if b.place == place]
        first = found[0]
        if len({b.step for b in found}) < min(2, max(facts.num_steps, 1)):
            continue
        a, b = first.shapes
        yield Hit(
            place=place,
            message=f"{first.op} of {_shape(a)} and {_shape(b)} gives {_shape(first.result)}: each of the {first.batch} "
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
_LOSSES = ("mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss")


@rule(code="TW101", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield lines of the reference step where a prediction and data meet so."""
    if not any(_may_be(row.signature) for row in rows(tape)):
        return
    size = batch_size(tape)
    if size is None or size < 2:
        return
    for op in tape.ops:
        if op.step == tape.reference_step and op.phase in ("forward", "loss"):
            found = _operands(op, size)
            if found is not None:
                a, b, result = found
                yield Hit(
                    place=place_of(op.source, tape),
                    message=f"{op.name.partition('.')[0]} of {_shape(a)} and {_shape(b)} gives {_shape(result)}: each of the "
                    f"{size} samples meets every other",
                    evidence=(Evidence(alignment(a, b, result)),),
                    fix="Give both the same shape: prediction.squeeze(-1), or target.unsqueeze(-1).",
                )


def _may_be(signature: Signature) -> bool:
    """Tell, before anything is unfolded, whether the shapes are those of such an operation."""
    name, shapes = signature.name.partition(".")[0], [t.shape for t in signature.inputs[:2]]
    if len(shapes) < 2:
        return False
    return name in _LOSSES or (name in _ELEMENTWISE and doubly_expanded(*shapes) is not None)


def _operands(op: Op, size: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Return the two shapes and that of the result, if an operation is such a broadcast."""
    name = op.name.partition(".")[0]
    if len(op.inputs) < 2:
        return None
    a, b = op.inputs[:2]
    if name in _ELEMENTWISE and (a.kind == "input") != (b.kind == "input") and "parameter" not in (a.kind, b.kind):
        result = doubly_expanded(a.shape, b.shape)
        both = size in a.shape and size in b.shape
        return (a.shape, b.shape, result) if result is not None and both and result.count(size) >= 2 else None
    if name in _LOSSES and a.shape == b.shape and a.shape.count(size) >= 2:  # expanded before: strides of 0
        small_a, small_b = _before_expanding(a), _before_expanding(b)
        if small_a != a.shape and small_b != b.shape and len(small_a) != len(small_b):
            return small_a, small_b, a.shape
    return None


def _before_expanding(tensor: TensorInfo) -> tuple[int, ...]:
    shape = tuple(1 if stride == 0 else n for n, stride in zip(tensor.shape, tensor.stride, strict=True))
    while shape and shape[0] == 1 and tensor.shape[len(tensor.shape) - len(shape)] > 1:
        shape = shape[1:]
    return shape
