"""Part of the step computes on the CPU, though the model is on the GPU.

What it finds:
    Operations with floating-point results of at least 65,536 elements on the CPU within the forward, loss or backward
    phase
    of a training on a GPU.

Why:
    The tensor goes to the host and back in each step, and the GPU waits.

How sure:
    Sure of the device. A hint: offloading on purpose looks the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from trainworthy.check.dry.rows import is_float, place_of, rows
from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape


@rule(code="TW757", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield each such line once."""
    if not tape.device.startswith("cuda"):
        return
    seen: set[Place] = set()
    for row in rows(tape):
        if row.phase not in ("forward", "loss", "backward") or not row.source.path:
            continue
        large = [t for t in row.signature.outputs if t.device == "cpu" and is_float(t) and prod(t.shape) >= 65_536]
        place = place_of(row.source, tape)
        if large and place not in seen and "copy" not in row.signature.name:
            seen.add(place)
            yield Hit(
                place=place,
                message=f"{row.signature.name} in the {row.phase} phase makes {large[0].shape} on the CPU",
                fix="Make it on the device: torch.zeros(..., device=x.device), or register it as a buffer.",
            )
