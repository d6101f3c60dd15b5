"""What PyTorch's CUDA caching allocator would reserve for a tape, by a replay of its rules.

Memory that tensors take (*allocated*) is not what the card has to give (*reserved*): the allocator asks the driver for
segments and cuts them into blocks. The rules, as of torch 2.13 (``c10/cuda/CUDACachingAllocator.cpp`` and
``c10/core/AllocatorConfig.h``; the names in capitals are the constants there):

1. A request is rounded up to a multiple of 512 B (kMinBlockSize).
2. Up to 1 MiB (kSmallSize) it is served from the small pool, above from the large one; pools never mix.
3. The smallest free block of the pool that is large enough is taken, of equal ones that with the lowest address.
4. Without one, the driver is asked for a segment: 2 MiB (kSmallBuffer) in the small pool; in the large pool 20 MiB
   (kLargeBuffer) for requests below 10 MiB (kMinLargeAlloc), else the request rounded up to 2 MiB (kRoundLarge).
5. A block is split if what remains is at least 512 B (small pool) or more than 1 MiB (large pool). Otherwise the
   request gets the whole block, and ``torch.cuda.memory_allocated`` counts the whole block.
6. A released block is joined with free neighbours of its segment; segments stay reserved.
7. If the driver has no more memory, segments that are entirely free are given back, and it is asked again. If that does
   not help either, this is the out-of-memory error.

The settings of ``PYTORCH_CUDA_ALLOC_CONF`` are taken to be the default ones, and all work to be on one stream.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

RULES_VERSION = 2  # goes up when the same requests get another answer; what is noted in tapes is then void

MIN_BLOCK_BYTES = 512
SMALL_BYTES = 1 << 20
SMALL_SEGMENT_BYTES = 2 << 20
LARGE_SEGMENT_BYTES = 20 << 20
MIN_LARGE_BYTES = 10 << 20
ROUND_LARGE_BYTES = 2 << 20

_FIRST_ADDRESS = 0x7F00_0000_0000
_GAP_BYTES = 1 << 30  # between segments, so that addresses never run into each other


class Block:
    """A piece of a segment; ``previous`` and ``next`` are its neighbours in the segment."""

    __slots__ = ("address", "is_free", "next", "number", "previous", "requested_bytes", "segment", "size_bytes")

    def __init__(self, segment: Segment, address: int, size_bytes: int) -> None:
        self.segment = segment
        self.address = address
        self.size_bytes = size_bytes
        self.requested_bytes = 0
        self.number = -1
        self.is_free = True
        self.previous: Block | None = None
        self.next: Block | None = None


class Segment:
    """Memory that the driver gave in one piece."""

    __slots__ = ("address", "first", "is_small", "size_bytes")

    def __init__(self, address: int, size_bytes: int, is_small: bool) -> None:
        self.address = address
        self.size_bytes = size_bytes
        self.is_small = is_small
        self.first = Block(self, address, size_bytes)

    def blocks(self) -> list[Block]:
        """List the blocks in order of address."""
        blocks: list[Block] = []
        block: Block | None = self.first
        while block is not None:
            blocks.append(block)
            block = block.next
        return blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory:
    """The first request that no rule could serve."""

    requested_bytes: int
    reserved_bytes: int
    allocated_bytes: int


class CachingAllocator:
    """The rules of the module's docstring; ``capacity_bytes`` is what the driver can give, None for no limit.

    After the first request beyond the capacity, ``out_of_memory`` says which it was and the limit is lifted, so that
    the rest of a tape still shows how much it would take.
    """

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self.allocated_bytes = 0
        self.reserved_bytes = 0
        self.segments: dict[int, Segment] = {}
        self.num_returned_segments = 0
        self.out_of_memory: OutOfMemory | None = None
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._by_address: dict[int, Block] = {}  # free blocks only
        self._next_address = _FIRST_ADDRESS

    def allocate(self, requested_bytes: int) -> Block:
        """Serve a request of more than 0 bytes."""
        size = -(-requested_bytes // MIN_BLOCK_BYTES) * MIN_BLOCK_BYTES
        is_small = size <= SMALL_BYTES
        block = self._take_free(size, is_small) or self._new_segment(size, is_small)
        remaining = block.size_bytes - size
        if remaining >= MIN_BLOCK_BYTES if is_small else remaining > SMALL_BYTES:
            self._split(block, size)
        block.is_free = False
        block.requested_bytes = requested_bytes
        self.allocated_bytes += block.size_bytes
        return block

    def release(self, block: Block) -> None:
        """Take a block back and join it with its free neighbours."""
        self.allocated_bytes -= block.size_bytes
        before, after = block.previous, block.next
        if before is not None and before.is_free:
            self._forget_free(before)
            block.address = before.address
            block.size_bytes += before.size_bytes
            block.previous = before.previous
            if before.previous is not None:
                before.previous.next = block
            else:
                block.segment.first = block
        if after is not None and after.is_free:
            self._forget_free(after)
            block.size_bytes += after.size_bytes
            block.next = after.next
            if after.next is not None:
                after.next.previous = block
        block.requested_bytes, block.number = 0, -1
        self._note_free(block)

    # --- pools ------------------------------------------------------------------------------------

    def _take_free(self, size: int, is_small: bool) -> Block | None:
        pool = self._free[is_small]
        at = bisect_left(pool, (size, 0))
        if at == len(pool):
            return None
        return self._by_address.pop(pool.pop(at)[1])

    def _note_free(self, block: Block) -> None:
        block.is_free = True
        insort(self._free[block.segment.is_small], (block.size_bytes, block.address))
        self._by_address[block.address] = block

    def _forget_free(self, block: Block) -> None:
        pool = self._free[block.segment.is_small]
        del pool[bisect_left(pool, (block.size_bytes, block.address))]
        del self._by_address[block.address]

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.segment, block.address + size, block.size_bytes - size)
        rest.previous, rest.next = block, block.next
        if block.next is not None:
            block.next.previous = rest
        block.next, block.size_bytes = rest, size
        self._note_free(rest)

    # --- the driver -------------------------------------------------------------------------------

    def _new_segment(self, size: int, is_small: bool) -> Block:
        num_bytes = segment_bytes(size)
        if self._is_beyond_capacity(num_bytes):
            self._return_free_segments()
            if self._is_beyond_capacity(num_bytes):
                self.out_of_memory = OutOfMemory(
                    requested_bytes=size, reserved_bytes=self.reserved_bytes, allocated_bytes=self.allocated_bytes
                )
                self.capacity_bytes = None
        segment = Segment(self._next_address, num_bytes, is_small)
        self._next_address += -(-num_bytes // _GAP_BYTES) * _GAP_BYTES
        self.segments[segment.address] = segment
        self.reserved_bytes += num_bytes
        return segment.first

    def _is_beyond_capacity(self, num_bytes: int) -> bool:
        return self.capacity_bytes is not None and self.reserved_bytes + num_bytes > self.capacity_bytes

    def _return_free_segments(self) -> None:
        for segment in list(self.segments.values()):
            block = segment.first
            if block.is_free and block.next is None:
                self._forget_free(block)
                del self.segments[segment.address]
                self.reserved_bytes -= segment.size_bytes
                self.num_returned_segments += 1


def segment_bytes(size: int) -> int:
    """Return how much the driver is asked for when a request of ``size`` bytes finds no free block.

    >>> [segment_bytes(n) >> 20 for n in (512, 1 << 20, (1 << 20) + 512, (10 << 20) - 512, 10 << 20, (10 << 20) + 512)]
    [2, 2, 20, 20, 10, 12]
    """
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < MIN_LARGE_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-size // ROUND_LARGE_BYTES) * ROUND_LARGE_BYTES


def peak_reserved_bytes(requests: Sequence[tuple[str, int]]) -> int:
    """Replay named requests: ``("a", n)`` allocates n bytes as ``a``, ``("a", 0)`` releases it.

    >>> peak_reserved_bytes([("a", 600 << 10), ("b", 600 << 10), ("c", 900 << 10)]) >> 20
    4
    """
    allocator = CachingAllocator()
    live: dict[str, Block] = {}
    peak = 0
    for name, num_bytes in requests:
        if num_bytes:
            live[name] = allocator.allocate(num_bytes)
        else:
            allocator.release(live.pop(name))
        peak = max(peak, allocator.reserved_bytes)
    return peak
