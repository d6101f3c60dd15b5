"""Every rank of a data-parallel run is given the same batches.

What it finds:
    At three of the steps that are compared (1, 2, 3, 4, 8, ...) what the model was given has the same sums on all ranks
    of DistributedDataParallel, and other sums at other steps.

Why:
    There is no DistributedSampler (or the ranks do not split the stream): N processes do the same work N times, and an
    epoch is N times as long as it should be.

How sure:
    Sure of the sums. Only where the model spans all ranks. Tests that give all ranks the same numbers on purpose look
    the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

SEEN_BY = "ranks"
BAD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader

dist.init_process_group("gloo")
loader = DataLoader(range(64), batch_size=8, shuffle=False)
"""
GOOD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
sampler = DistributedSampler(range(64))
loader = DataLoader(range(64), batch_size=8, sampler=sampler)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for batch in loader:
        pass
"""


@rule(code="TW409", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield runs whose ranks see the same."""
    for fact in facts.same_batches:
        yield Hit(
            place=fact.place,
            message=f"All {fact.world_size} ranks were given the same batch at steps {', '.join(map(str, fact.steps))}",
            fix="Give the DataLoader a DistributedSampler (or split the stream by rank).",
        )
