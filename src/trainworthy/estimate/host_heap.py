"""Where the C library puts tensors on a CPU, and which memory is fresh from the operating system.

A page that nobody has written since the operating system handed it out costs a fault, often more than the kernel that
writes it. PyTorch allocates with ``posix_memalign``; this follows glibc's allocator (malloc/malloc.c: ``_int_malloc``,
``sysmalloc``, ``_int_free``, ``systrim``): blocks come from free chunks by best fit, then from the top of the heap; if
that is too small, from a mapping of their own above a threshold, else the heap grows. The threshold follows the largest
mapping freed so far, up to 32 MiB; a top of more than twice that goes back to the system.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

_PAGE = 4096
_TOP_PAD = 128 << 10
_FIRST_THRESHOLD = 1 << 20  # what importing torch leaves (measured); a fresh process begins with 128 KiB
_LARGEST_THRESHOLD = 32 << 20
_CONSOLIDATES = 64 << 10
_OVERHEAD = 80  # of a header and of the alignment to 64 bytes
_MAPPINGS = 1 << 46  # addresses of mappings lie far from the heap


class Block(NamedTuple):
    """An allocated block: where it is, and how much of it is fresh."""

    address: int
    size: int
    fresh_bytes: int


class HostHeap:
    """A model of one heap; sizes in bytes."""

    def __init__(self) -> None:
        self.threshold = _FIRST_THRESHOLD
        self.top = 0  # where the free end of the heap begins
        self.end = 0  # of the heap
        self._touched = 0
        self._mapped_at = _MAPPINGS
        self._by_size: list[tuple[int, int]] = []  # (size, address), sorted
        self._free_starts: dict[int, int] = {}  # address -> size
        self._free_ends: dict[int, int] = {}  # end -> address

    def allocate(self, size_bytes: int) -> Block:
        """Take a block."""
        size = (size_bytes + _OVERHEAD + 15) // 16 * 16
        at = bisect_left(self._by_size, (size, -1))
        if at < len(self._by_size):
            found, address = self._by_size[at]
            self._take(address, found)
            if found - size >= 64:
                self._put(address + size, found - size)
                found = size
            return Block(address, found, 0)
        if self.end - self.top < size + 32:
            if size >= self.threshold:
                return self._map(size)
            self.end += (size + _TOP_PAD + _PAGE - 1) // _PAGE * _PAGE
        address, self.top = self.top, self.top + size
        fresh = max(0, self.top - max(self._touched, address))
        self._touched = max(self._touched, self.top)
        return Block(address, size, fresh)

    def free(self, block: Block) -> None:
        """Give a block back."""
        address, size = block.address, block.size
        if address >= _MAPPINGS:
            if self.threshold < size <= _LARGEST_THRESHOLD:
                self.threshold = size
            return
        before = self._free_ends.get(address)
        if before is not None:
            self._take(before, address - before)
            address, size = before, size + address - before
        after = self._free_starts.get(address + size)
        if after is not None:
            self._take(address + size, after)
            size += after
        if address + size == self.top:
            self.top = address
            if size >= _CONSOLIDATES:
                self._trim()
        else:
            self._put(address, size)

    def _map(self, size: int) -> Block:
        size = (size + _PAGE - 1) // _PAGE * _PAGE
        # The system hands out the same addresses again, but the pages behind them are fresh.
        address, self._mapped_at = self._mapped_at, self._mapped_at + size
        return Block(address, size, size)

    def _trim(self) -> None:
        if self.end - self.top >= 2 * self.threshold:
            self.end = (self.top + _TOP_PAD + _PAGE - 1) // _PAGE * _PAGE
            self._touched = min(self._touched, self.end)

    def _take(self, address: int, size: int) -> None:
        del self._free_starts[address], self._free_ends[address + size]
        del self._by_size[bisect_left(self._by_size, (size, address))]

    def _put(self, address: int, size: int) -> None:
        self._free_starts[address] = size
        self._free_ends[address + size] = address
        insort(self._by_size, (size, address))
