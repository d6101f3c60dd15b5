"""The step computes matrix products or convolutions in float64.

What it finds:
    Matrix products or convolutions in float64 in the forward pass, on a GPU.

Why:
    NumPy's default entered the model. GPUs for training do float64 at a half to a sixty-fourth of the speed of float32.

How sure:
    Sure of the dtype. Wrong where double precision is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape


@rule(code="TW756", severity="warning", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield the first such line."""
    if not tape.device.startswith("cuda"):
        return
    for row in rows(tape):
        inputs = row.signature.inputs
        if row.signature.flops and row.phase == "forward" and inputs and all(t.dtype == "float64" for t in inputs):
            yield Hit(
                place=place_of(row.source, tape),
                message=f"{row.signature.name} computes in float64: {', '.join(str(t.shape) for t in inputs)}",
                fix="x = x.float() where the data comes in; model.float().",
            )
            return
