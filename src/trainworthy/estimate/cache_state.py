"""How far away the data of an operation is: distinct bytes touched since, by least-recently-used order.

The number of other bytes touched between two uses of the same memory is its reuse distance; a cache that keeps what was
used last holds it if the distance is below its size (Mattson et al., "Evaluation techniques for storage hierarchies",
1970). What a byte costs at a distance is measured: a kernel is timed after so much other memory was touched.
"""

from __future__ import annotations

from collections import OrderedDict

_MIB = 1 << 20
LEVELS_BYTES = tuple(_MIB * m for m in (1, 4, 12, 24, 48, 96))
BEYOND_BYTES = 256 * _MIB


class CacheState:
    """Blocks of memory in the order they were last touched, followed at a few distances."""

    def __init__(self, *, block_bytes: int = 64 << 10) -> None:
        self.block_bytes = block_bytes
        self._levels: list[tuple[int, OrderedDict[int, None]]] = [
            (max(level // block_bytes, 1), OrderedDict()) for level in LEVELS_BYTES
        ]

    def touch(self, address: int, size_bytes: int) -> dict[int, int]:
        """Touch a range; return how many of its bytes were at which distance (the upper end of a level)."""
        first, last = address // self.block_bytes, (address + max(size_bytes, 1) - 1) // self.block_bytes
        share = size_bytes / (last - first + 1)
        found: dict[int, float] = {}
        for block in range(first, last + 1):
            distance = self._touch_block(block)
            found[distance] = found.get(distance, 0.0) + share
        return {distance: round(size) for distance, size in found.items()}

    def _touch_block(self, block: int) -> int:
        distance = BEYOND_BYTES
        for at in range(len(self._levels) - 1, -1, -1):
            room, level = self._levels[at]
            if block in level:
                level.move_to_end(block)
                distance = LEVELS_BYTES[at]
            else:
                level[block] = None
                if len(level) > room:
                    level.popitem(last=False)
        return distance
