"""A convolution leaves out the last rows or columns of its input.

What it finds:
    Convolutions and poolings with a stride above 1 where n + 2p - d(k - 1) - 1 is no multiple of the stride. Off by
    default.

Why:
    The windows do not reach the edge, so the last pixels have no influence; a decoder that doubles the size again ends
    one pixel short.

How sure:
    Certain for this input size. Off by default, because classifiers do it on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import made_at
from trainworthy.check.dry.rows import ModuleTable
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import ModuleInfo, Tape

BAD = """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Flatten(), nn.Linear(72, 2))  # <- TW164
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(4, 3, 8, 8)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.Flatten(), nn.Linear(72, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(4, 3, 7, 7)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW164", severity="hint", depth="dry", default=False)
def find(tape: Tape) -> Iterator[Hit]:
    """Work out what is left over at the edge."""
    known = ModuleTable(tape, "Conv", "MaxPool", "AvgPool")
    for op in tape.ops if known else ():
        if op.step != tape.reference_step or op.phase != "forward" or not _slides(op.name) or not op.inputs:
            continue
        info = known.get(op.module)
        if info is None:
            continue
        if "Transpose" in info.class_name or info.details.get("ceil_mode"):
            continue
        for size, left in _left_over(info, op.inputs[0].shape):
            yield Hit(
                place=made_at(tape, op.module, op.source),
                message=f"{info.class_name} {op.module} leaves out the last {left} of {size} pixels",
                fix="Choose padding so that (n + 2p - d(k - 1) - 1) is a multiple of the stride.",
            )
            break


def _slides(name: str) -> bool:
    return name.partition(".")[0] in (
        "convolution",
        "max_pool2d_with_indices",
        "avg_pool2d",
        "max_pool1d",
        "avg_pool1d",
    )


def _left_over(info: ModuleInfo, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    kernel, stride = _tuple(info.details.get("kernel_size")), _tuple(info.details.get("stride"))
    padding, dilation = _tuple(info.details.get("padding", 0)), _tuple(info.details.get("dilation", 1))
    count = len(shape) - 2
    if any(not t or not all(isinstance(n, int) for n in t) for t in (kernel, stride, padding, dilation)):
        return
    for axis in range(count):
        k, s, p, d = (t[axis] if len(t) > axis else t[0] for t in (kernel, stride, padding, dilation))
        span = shape[2 + axis] + 2 * p - d * (k - 1) - 1
        if s > 1 and span % s > p:  # what is left over beyond the padding are pixels
            yield shape[2 + axis], span % s - p


def _tuple(value: object) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) if isinstance(value, int) else ()
