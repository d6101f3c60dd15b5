"""How tables of measurements name the kind of memory that they print, and its unit."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Figure = Literal["allocated", "reserved", "device"]
GIB, GB = float(2**30), 1e9


class MemoryKind(NamedTuple):
    """Which figure a table prints, and how many bytes its unit has."""

    figure: Figure
    unit_bytes: float


def memory_kind(text: str) -> MemoryKind:
    """Read the words of a column ``memory_kind``; unknown words are what nvidia-smi shows, in GiB.

    "GB" of tools that divide by 1024 three times (nvidia-smi, torchtitan, torchtune, Megatron's notes) is GiB.

    >>> memory_kind("max_memory_allocated GB (1e9)")
    MemoryKind(figure='allocated', unit_bytes=1000000000.0)
    >>> memory_kind("torchtitan max_reserved GiB").figure, memory_kind("nvidia-smi GB").figure
    ('reserved', 'device')
    >>> memory_kind("max_memory_allocated GiB; reserved 35.873 GiB").figure
    'allocated'
    """
    words = text.casefold()
    unit = GB if "1e9" in words else GIB
    first = re.split(r";", words)[0]
    if "allocated" in first or "active" in first:
        return MemoryKind("allocated", unit)
    if "reserved" in first or "torchtitan" in first or "printed" in first or "peak mib" in first:
        return MemoryKind("reserved", unit)
    return MemoryKind("device", unit)
