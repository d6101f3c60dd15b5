"""Numbers change when they are copied from one GPU to another.

What it finds:
    A pattern of 65,536 numbers, copied once between every two GPUs that the process uses, in the first two steps,
    arrives differently.

Why:
    Peer-to-peer access that the machine does not really have (IOMMU and ACS settings, some consumer cards and drivers):
    data are lost without an error. Training across such GPUs gives rubbish.

How sure:
    Sure: the numbers are compared on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule


@rule(code="TW432", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the pairs once."""
    if facts.copy_faults:
        first, others = facts.copy_faults[0], facts.copy_faults[1:]
        yield Hit(
            place=first.place,
            message=f"A copy from {first.source} to {first.target} changed {first.wrong:,} of {first.total:,} numbers",
            evidence=tuple(Evidence(f"{f.source} to {f.target}: {f.wrong:,} of {f.total:,}") for f in others),
            fix="Set NCCL_P2P_DISABLE=1, copy over the CPU, and look at IOMMU and ACS settings and the driver.",
        )
