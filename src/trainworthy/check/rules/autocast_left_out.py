"""A large product stays in float32 while the others run in half precision.

What it finds:
    In the forward pass, lines whose matrix products or convolutions take float32 and are at least a tenth of the
    forward FLOPs, while at least a third of them run in bfloat16 or float16.

Why:
    Autocast does not reach custom functions, compiled pieces or blocks that turn it off: they run at a fraction of the
    speed and save twice the memory.

How sure:
    Sure of the types. A hint: losses and routers stay in float32 on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

first, second = nn.Linear(64, 64), nn.Linear(64, 64)
optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
for step in range(3):
    with torch.autocast("cpu", torch.bfloat16):
        h = first(torch.rand(32, 64))
        with torch.autocast("cpu", enabled=False):
            h = second(h.float())  # <- TW268
        loss = h.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

first, second = nn.Linear(64, 64), nn.Linear(64, 64)
optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
for step in range(3):
    with torch.autocast("cpu", torch.bfloat16):
        loss = second(first(torch.rand(32, 64))).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_LOW = ("bfloat16", "float16")


@rule(code="TW268", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Sum the FLOPs of the forward pass by type and line."""
    low = total = 0
    full: dict[Place, tuple[int, str]] = {}
    for row in rows(tape):
        flops = (row.signature.flops or 0) * row.times
        if row.phase not in ("forward", "loss") or not flops:
            continue
        total += flops
        dtypes = {tensor.dtype for tensor in row.signature.inputs}
        if dtypes & {*_LOW}:
            low += flops
        elif dtypes == {"float32"} and row.source.path:
            place = place_of(row.source, tape)
            full[place] = (full.get(place, (0, ""))[0] + flops, row.module)
    for place, (flops, module) in full.items():
        if flops >= 0.1 * total and low >= total / 3:
            yield Hit(
                place=place,
                message=f"{flops / total:.0%} of the forward FLOPs are float32 here"
                f"{f' ({module})' if module else ''}, and {low / total:.0%} run in half precision",
                fix="Open autocast around it; in a custom function use torch.amp.custom_fwd.",
            )
