"""A broadcast is written out only to be summed.

What it finds:
    An elementwise operation of two tensors that both expand, whose result has at least 8 times the bytes of both and at
    least 64 MiB, and which is summed or averaged over its last axis afterwards.

Why:
    The memory grows with the product of the axes: (2048, 1, 64) - (1, 1024, 64) takes 512 MiB, and as much again for
    the backward pass. A matrix product gives the same without it.

How sure:
    Sure of the bytes. A hint: not every such sum can be rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape, TensorMeta
from trainworthy.units import format_bytes

BAD = """\
import torch
from torch import nn

model = nn.Linear(64, 64).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
centres = torch.randn(1024, 64, device="cuda")
for step in range(3):
    z = model(torch.randn(1024, 64, device="cuda"))
    loss = (z[:, None] - centres[None]).pow(2).sum(-1).min(1).values.mean()  # <- TW764
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

model = nn.Linear(64, 64).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
centres = torch.randn(1024, 64, device="cuda")
for step in range(3):
    z = model(torch.randn(1024, 64, device="cuda"))
    loss = torch.cdist(z, centres).pow(2).min(1).values.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_TIMES, _LEAST_BYTES = 8, 64 * 2**20
_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8}


@rule(code="TW764", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Look for large results, then for a sum of the same shape."""
    large: list[tuple[tuple[int, ...], Hit]] = []
    summed: set[tuple[int, ...]] = set()
    for row in rows(tape):
        name, signature = row.signature.name.partition(".")[0], row.signature
        if row.phase not in ("forward", "loss"):
            continue
        if name in ("sum", "mean") and signature.inputs and signature.outputs:
            before, after = signature.inputs[0].shape, signature.outputs[0].shape
            if after in (before[:-1], (*before[:-1], 1)):
                summed.add(before)
        elif name in ("add", "sub", "mul", "div") and len(signature.inputs) == 2 and signature.outputs:
            given, made = sum(map(_size, signature.inputs)), _size(signature.outputs[0])
            shape = signature.outputs[0].shape
            both = all(t.shape != shape for t in signature.inputs)
            if both and made >= max(_LEAST_BYTES, _TIMES * given):
                shapes = " and ".join(str(t.shape) for t in signature.inputs)
                large.append((shape, Hit(
                    place=place_of(row.source, tape),
                    message=f"{name} of {shapes} writes {format_bytes(made)}, {made / given:.0f} times what it reads, "
                    "to be summed again",
                    fix="A matrix product, torch.cdist or einsum.",
                )))  # fmt: skip
    yield from (hit for shape, hit in large if shape in summed)


def _size(tensor: TensorMeta) -> int:
    return prod(tensor.shape) * _BYTES.get(tensor.dtype, 4)
