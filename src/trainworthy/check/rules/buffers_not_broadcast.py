"""Buffers differ between ranks, and nobody makes them equal.

What it finds:
    With broadcast_buffers=False, buffers of a DistributedDataParallel model differ between ranks after a step.

Why:
    The checkpoint of rank 0 holds the statistics of its part of the data only.

How sure:
    Sure of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule


@rule(code="TW406", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first step with a difference."""
    for first in [r for r in facts.replicas if r.is_buffer][:1]:
        yield Hit(
            place=first.place,
            message=f"After step {first.step}, {len(first.names)} buffers differ between {first.world_size} ranks, and "
            f"broadcast_buffers is off: {listed(first.names)}",
            fix="Leave broadcast_buffers=True, or make them equal before a checkpoint or an evaluation.",
        )
