"""Ranks of a process group do different things in the same turn.

What it finds:
    Two ranks whose n-th collective in a group differs: in its kind, element type, root, or in a shape that must fit.
    It is told before the collective begins. The buffers and gradients of DistributedDataParallel count as turns.

Why:
    What one rank does alone (a validation on rank 0, an early stop, an expert without tokens) takes the place of
    the next collective of the others: numbers get mixed up, or nothing ever ends. Shapes that differ (a last batch, a
    capacity computed from local tokens) hang, crash or return rubbish, by backend.

How sure:
    Sure: each rank writes what it is about to do into the store. A rank that is late is waited for, not accused.
    Messages between two ranks (send, recv), and collectives within compiled code, are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

SEEN_BY = "ranks"
BAD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    dist.barrier()
"""
GOOD = """\
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.barrier()
"""


@rule(code="TW401", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first mismatch; both sides are named."""
    for fact in facts.collectives[:1]:
        evidence = [Evidence(f"rank {fact.other_rank} is here", fact.other_place)] if fact.other_place else []
        if fact.parted is not None:
            evidence.append(Evidence(f"they went apart before: rank {fact.rank} came from here", fact.parted[0]))
            evidence.append(Evidence(f"and rank {fact.other_rank} from here", fact.parted[1]))
        yield Hit(
            place=fact.place,
            message=f"Turn {fact.number} of a process group: rank {fact.rank} calls {fact.mine}, rank "
            f"{fact.other_rank} calls {fact.other}",
            evidence=tuple(evidence),
            fix="Let all ranks make the same calls with the same shapes: no collective under `if rank == 0`, pad to "
            "the largest size, agree on sizes first.",
        )
