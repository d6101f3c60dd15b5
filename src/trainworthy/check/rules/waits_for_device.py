"""A line makes the host wait for the device in every step.

What it finds:
    Lines that read a value from the device (.item(), .cpu(), print, float, if on a tensor) in the steady state, with
    how
    often in a step.

Why:
    The host can then not run ahead: the device stands still until the next kernel is launched.

How sure:
    Sure that the line waits. A hint: once a step is often fine, once a layer is not. Silent below two in a step.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape


@rule(code="TW754", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield lines that wait at least twice in the reference step."""
    counts: dict[Place, int] = {}
    for row in rows(tape):
        if row.signature.host_syncs and row.source.path:
            place = place_of(row.source, tape)
            counts[place] = counts.get(place, 0) + row.signature.host_syncs * row.times
    for place, count in counts.items():
        if count >= 2:
            yield Hit(
                place=place,
                message=f"The host waits for the device {count:,} times in a step here",
                fix="Keep sums on the device and read them every so many steps; use torch.where instead of if.",
            )
