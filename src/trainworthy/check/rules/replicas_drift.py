"""Ranks of a data-parallel run hold different parameters.

What it finds:
    After step 1, 2, 3, 4, 8, ... the bits of each replicated parameter are summed on every rank and compared: those
    within DistributedDataParallel, those that optimizers step beside it, DTensors (FSDP2, tensor parallelism) among the
    ranks whose placement says that they hold the same part, and, without a wrapper, those that had the same numbers
    and the same gradient on all ranks after the first backward pass.

Why:
    Calling model.module, replacing or casting parameters after DistributedDataParallel wrapped them, random numbers in
    the optimizer, parameters beside the wrapped model, clipping each rank's gradients by a norm of its own: N models
    train apart, and no curve shows it.

How sure:
    Sure that the sums differ. Buffers are compared only without broadcast_buffers (TW406). Parts that only one rank
    holds are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule


@rule(code="TW450", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first step with a difference, for each kind of parameter that should be equal."""
    for wrapped, alike in ((True, False), (False, False), (False, True)):
        found = [r for r in facts.replicas if not r.is_buffer and (r.wrapped, r.began_alike) == (wrapped, alike)]
        if not found:
            continue
        first = found[0]
        evidence = []
        if found[1:]:
            evidence.append(Evidence(f"also after steps {', '.join(str(r.step) for r in found[1:])}"))
        if first.bypassed is not None and wrapped:
            evidence.append(Evidence("here the model is called without DistributedDataParallel", first.bypassed))
        if alike:
            evidence.append(Evidence("parameters and gradients were equal after the first backward pass"))
        yield Hit(
            place=first.place,
            message=f"After step {first.step}, {len(first.names)} of {first.num_compared} "
            f"{'parameters' if wrapped or alike else 'parameters outside of DistributedDataParallel'} differ between "
            f"{first.world_size} ranks: {listed(first.names)} (rank {listed(list(map(str, first.ranks)))} "
            "against the first)",
            evidence=tuple(evidence),
            fix=_fix(wrapped=wrapped, alike=alike),
        )


def _fix(*, wrapped: bool, alike: bool) -> str:
    if wrapped:
        return "Call the wrapped model itself, not model.module; change parameters before wrapping, not after."
    if alike:
        return "What changes a gradient (a norm to clip by, a scale) must be the same on all ranks: reduce it first."
    return "Put them into the wrapped module, or all-reduce their gradients."
