"""A large matrix product is bound by memory.

What it finds:
    Lines whose matrix products are at least a fifth of the step's FLOPs, in half precision, and do fewer FLOPs for each
    byte than a V100 can (139). Off by default.

Why:
    The tensor cores wait for data: one of the three sizes is small. A larger batch, or joining products, costs little
    more time.

How sure:
    Sure of the arithmetic; `trainworthy estimate` says what it costs on a given GPU. Off by default, because the sizes
    are often the problem's own, and a V100 is not the GPU that most have.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

model = nn.Linear(8192, 128, bias=False).cuda().half()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.half)
    loss = model(x).float().pow(2).mean()  # <- TW763
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

model = nn.Linear(4096, 4096, bias=False).cuda().half()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x = torch.randn(8192, 4096, device="cuda", dtype=torch.half)
    loss = model(x).float().pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_RIDGE_FLOP_PER_BYTE = 139  # V100: 125 TFLOP/s over 900 GB/s
_LEAST_FLOPS = 10**9


@rule(code="TW763", severity="hint", depth="dry", default=False)
def find(tape: Tape) -> Iterator[Hit]:
    """Compare FLOPs with bytes."""
    total = sum((row.signature.flops or 0) * row.times for row in rows(tape))
    for row in rows(tape):
        flops, moved = row.signature.flops or 0, row.signature.moved_bytes
        half = any(tensor.dtype in ("float16", "bfloat16") for tensor in row.signature.inputs)
        is_product = row.signature.name.partition(".")[0] in ("mm", "addmm", "bmm", "baddbmm")
        if (
            row.phase != "forward"
            or not half
            or not is_product
            or flops < _LEAST_FLOPS
            or flops * row.times < total / 5
        ):
            continue
        if moved and flops / moved < _RIDGE_FLOP_PER_BYTE:
            shapes = " and ".join(" x ".join(map(str, t.shape)) for t in row.signature.inputs[-2:])
            yield Hit(
                place=place_of(row.source, tape),
                message=f"the product of {shapes} does {flops / moved:.0f} FLOP for each byte: it is bound by memory",
                fix="A larger batch, or several products joined to one.",
            )
