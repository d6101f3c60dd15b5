"""Memory as a rehearsal found it, and whether it fits."""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.estimate.quantity import Quantity, exactly
from trainworthy.estimate.result import Fits
from trainworthy.hardware.gpu import Gpu

__all__ = ["MemoryFacts", "NeededMemory", "fits_in", "needed_memory"]

GIB = 1 << 30

# How far the modelled peak may be off. The lower end is what live tensors take, whatever the allocator does: it gives
# unused segments back before it gives up. The upper end is segments that fragment more than the replay of one stream
# says: side streams of FSDP and NCCL have pools of their own.
# Source: reserved / allocated in 90 logs of public runs is 1.04 to 1.73; the replay follows it, within about a tenth.
_ABOVE_RESERVED = 1.10

# Outside PyTorch's allocator, for processes that talk to each other. Source: stas00/ml-engineering, training/
# performance, "Components on GPU memory": 1 to 1.5 GiB; less with one communicator and small buffers.
_NCCL_BYTES = Quantity(0.3 * GIB, 1.0 * GIB, 1.5 * GIB)


class MemoryFacts(NamedTuple):
    """What a rehearsal says of memory; None is not known (a device without the caching allocator)."""

    peak_bytes: int
    allocated_bytes: int | None
    reserved_bytes: int | None
    compiled_allocated_bytes: int | None = None
    """Of the same step with compiled code, where that was worked out."""


class NeededMemory(NamedTuple):
    """Peaks by kind, and what the card has to have."""

    allocated: Quantity
    peak: Quantity
    kind: str
    needed: Quantity


def needed_memory(facts: MemoryFacts, *, gpu: Gpu | None, world_size: int) -> NeededMemory:
    """Put the parts together.

    >>> needed_memory(MemoryFacts(GIB, None, None), gpu=None, world_size=1).kind
    'allocated'
    """
    live = facts.peak_bytes if facts.allocated_bytes is None else facts.allocated_bytes
    least = min(live, facts.compiled_allocated_bytes or live)
    allocated = Quantity(least, live, live)
    if facts.reserved_bytes is None:
        return NeededMemory(allocated, allocated, "allocated", allocated)
    reserved = Quantity(least, facts.reserved_bytes, facts.reserved_bytes * _ABOVE_RESERVED)
    needed = reserved
    if gpu is not None:
        context = gpu.architecture.context
        needed = needed.plus(Quantity(context.low_bytes, context.expected_bytes, context.high_bytes))
    needed = needed.plus(_NCCL_BYTES if world_size > 1 else exactly(0))
    return NeededMemory(allocated, reserved, "reserved", needed)


def fits_in(needed: Quantity, driver_memory_bytes: int | None) -> Fits:
    """Say whether it fits: only the whole range decides.

    >>> fits_in(Quantity(1, 2, 3), 3), fits_in(Quantity(1, 2, 3), 2), fits_in(Quantity(4, 5, 6), 3)
    ('yes', 'unsure', 'no')
    """
    if driver_memory_bytes is None:
        return "unsure"
    if needed.high <= driver_memory_bytes:
        return "yes"
    return "no" if needed.low > driver_memory_bytes else "unsure"
