"""Buffers differ between ranks, and nobody makes them equal.

What it finds:
    With broadcast_buffers=False, buffers of a DistributedDataParallel model differ between ranks after a step. With it,
    buffers that a module computes itself (an average, a codebook) differ after two of the compared steps.

Why:
    The checkpoint of rank 0 holds the statistics of its part of the data only. Broadcast buffers are no better: those
    of rank 0 overwrite the others before each forward pass, and what they saw is lost.

How sure:
    Sure of the difference. The statistics of BatchNorm are known to be those of one rank, and have a hint of their own
    (TW412). Buffers of random numbers look the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule


@rule(code="TW406", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first step with a difference."""
    for first in [r for r in facts.replicas if r.is_buffer and not r.broadcast][:1]:
        yield Hit(
            place=first.place,
            message=f"After step {first.step}, {len(first.names)} buffers differ between {first.world_size} ranks, and "
            f"broadcast_buffers is off: {listed(first.names)}",
            fix="Leave broadcast_buffers=True, or make them equal before a checkpoint or an evaluation.",
        )
    own = [r for r in facts.replicas if r.broadcast]
    lasting = [name for name in (own[0].names if own else ()) if sum(name in r.names for r in own) >= 2]
    if lasting:
        yield Hit(
            place=own[0].place,
            message=f"After step {own[0].step}, {len(lasting)} buffers that a module computes itself differ between "
            f"{own[0].world_size} ranks: {listed(lasting)}",
            evidence=(Evidence("those of rank 0 overwrite the others before the next forward pass"),),
            fix="all_reduce what they are computed from, so that all ranks compute the same.",
        )
