"""A large matrix product has a dimension that tensor cores cannot be filled with.

What it finds:
    A product in half precision with at least a twentieth of the step's FLOPs, one of whose dimensions K or N is not a
    multiple of 8.

Why:
    Kernels then pad, or fall back to slower ones: a vocabulary of 50,257 is slower than one of 50,304.

How sure:
    Sure of the numbers; how much is lost depends on the library. A hint.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import made_at
from trainworthy.check.dry.rows import ModuleTable, place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

_PRODUCTS = {"mm": 0, "addmm": 1, "bmm": 0, "baddbmm": 1}


@rule(code="TW755", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield the forward products of the reference step that are large and not aligned."""
    found, layers = list(rows(tape)), ModuleTable(tape, "Linear", "Conv")
    total = sum((r.signature.flops or 0) * r.times for r in found)
    if not tape.device.startswith("cuda") or not total:
        return
    for row in found:
        first = _PRODUCTS.get(row.signature.name)
        if first is None or row.phase not in ("forward", "loss") or len(row.signature.inputs) < first + 2:
            continue
        a, b = row.signature.inputs[first : first + 2]
        k, n = a.shape[-1], b.shape[-1]
        share = (row.signature.flops or 0) * row.times * 3 / total  # the backward pass has two of the same
        odd = [f"{name} = {size:,}" for name, size in (("K", k), ("N", n)) if size % 8]
        if odd and share >= 0.05 and a.dtype in ("float16", "bfloat16"):
            size = n if n % 8 else k
            yield Hit(
                place=made_at(tape, row.module, row.source) if layers.get(row.module) else place_of(row.source, tape),
                message=f"A {a.dtype} product of {' x '.join(map(str, a.shape))} and "
                f"{' x '.join(map(str, b.shape))} has "
                f"{' and '.join(odd)}, not a multiple of 8; with its backward pass it is {share:.0%} of the "
                "step's FLOPs",
                fix=f"Pad {size:,} to {-(-size // 64) * 64:,}.",
            )
