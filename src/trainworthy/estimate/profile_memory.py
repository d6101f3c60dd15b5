"""What programs of 2020 reserved for a step, recorded at a few batches; between them it is interpolated.

PyTorch before 1.11 kept more for the backward pass than today's, and a program's own names, data and first steps
decide what the caching allocator holds. ``benchmarks/memory_programs.py`` rehearses such programs and replays their
requests; the figures stand in the profiles under ``"memory"``. Nothing in them is measured. See docs/single-gpu.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from trainworthy.estimate.profiles import profile_of

Point = tuple[int, int, int]


class RecordedMemory(NamedTuple):
    """Bytes of a training step: in tensors at their peak, and reserved by the allocator for them."""

    allocated_bytes: int
    reserved_bytes: int


def recorded_memory(name: str, *, variant: str, batch: int) -> RecordedMemory | None:
    """Return what a program took, or None if it was not recorded.

    >>> recorded_memory("resnet50", variant="train-fp32", batch=64) is None
    True
    """
    points = profile_of(name).get("memory", {}).get(variant)
    if not points:
        return None
    return RecordedMemory(*(_between(points, batch, column) for column in (1, 2)))


def _between(points: Sequence[Point], batch: int, column: int) -> int:
    """Interpolate in a table sorted by its first column; beyond its ends the last slope goes on.

    >>> [_between([(1, 10, 0), (3, 30, 0), (5, 70, 0)], n, 1) for n in (1, 2, 4, 7)]
    [10, 20, 50, 110]
    """
    at = min(max(bisect_left([p[0] for p in points], batch), 1), len(points) - 1)
    low, high = points[at - 1], points[at]
    share = (batch - low[0]) / (high[0] - low[0])
    return round(low[column] + share * (high[column] - low[column]))
