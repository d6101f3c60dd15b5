"""Ranks of a data-parallel run hold different parameters.

What it finds:
    After step 1, 2, 4, 8, ... the bits of each replicated parameter are summed on every rank and compared.

Why:
    Calling model.module, replacing or casting parameters after DistributedDataParallel wrapped them, random numbers in
    the optimizer, or parameters beside the wrapped model: nobody averages their gradients, and N models train apart.

How sure:
    Sure that the sums differ. Buffers are compared only without broadcast_buffers. Sharded tensors are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule


@rule(code="TW450", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first step with a difference, for parameters inside and outside of what is wrapped."""
    for wrapped in (True, False):
        found = [r for r in facts.replicas if not r.is_buffer and r.wrapped == wrapped]
        if not found:
            continue
        first = found[0]
        whose = "parameters" if wrapped else "parameters outside of DistributedDataParallel"
        yield Hit(
            place=first.place,
            message=f"After step {first.step}, {len(first.names)} of {first.num_compared} {whose} differ between "
            f"{first.world_size} ranks: {listed(first.names)}",
            evidence=(Evidence(f"also after steps {', '.join(str(r.step) for r in found[1:])}"),) if found[1:] else (),
            fix="Call the wrapped model itself, not model.module; change parameters before wrapping, not after."
            if wrapped
            else "Put them into the wrapped module, or all-reduce their gradients.",
        )
