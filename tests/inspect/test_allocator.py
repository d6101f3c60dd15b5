"""The allocator's rules: hand-computed cases, a second implementation as oracle, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.inspect.allocator import Block, CachingAllocator, peak_reserved_bytes, segment_bytes

KIB, MIB = 1 << 10, 1 << 20

# Worked out on paper from c10/cuda/CUDACachingAllocator.cpp: (requests, reserved in MiB at the peak).
GOLDEN = [
    ("one byte takes a 2 MiB segment", [("a", 1)], 2),
    ("1 MiB is small, two of them fill a segment", [("a", MIB), ("b", MIB)], 2),
    ("a third needs another segment", [("a", MIB), ("b", MIB), ("c", 512)], 4),
    ("above 1 MiB comes from 20 MiB", [("a", MIB + 1)], 20),
    ("two of 9 MiB share 20 MiB", [("a", 9 * MIB), ("b", 9 * MIB)], 20),
    ("the remaining 2 MiB serve one more", [("a", 9 * MIB), ("b", 9 * MIB), ("c", 2 * MIB)], 20),
    ("10 MiB has a segment of its own", [("a", 10 * MIB)], 10),
    ("10 MiB and a byte is rounded up to 12", [("a", 10 * MIB + 1)], 12),
    ("a released block is taken again", [("a", 64 * MIB), ("a", 0), ("b", 64 * MIB)], 64),
    ("a smaller request splits it", [("a", 64 * MIB), ("a", 0), ("b", 40 * MIB), ("c", 24 * MIB)], 64),
    ("neighbours are joined", [("a", 30 * MIB), ("a", 0), ("b", 10 * MIB), ("c", 20 * MIB), ("b", 0), ("c", 0),
                               ("d", 30 * MIB)], 30),
    ("pools do not mix", [("a", 64 * MIB), ("a", 0), ("b", 512)], 66),
    ("fragmentation: 20 free in two halves do not serve 20",
     [("a", 40 * MIB), ("a", 0), ("b", 10 * MIB), ("c", 10 * MIB), ("d", 10 * MIB), ("e", 10 * MIB), ("b", 0),
      ("d", 0), ("f", 20 * MIB)], 60),
]  # fmt: skip


@pytest.mark.parametrize(("requests", "expected_mib"), [case[1:] for case in GOLDEN], ids=[case[0] for case in GOLDEN])
def test_golden(requests: list[tuple[str, int]], expected_mib: int) -> None:
    assert peak_reserved_bytes(requests) == expected_mib * MIB


def test_a_remainder_of_one_mib_is_not_split_off_and_counts_as_allocated() -> None:
    allocator = CachingAllocator()
    allocator.allocate(11 * MIB)  # a segment of 12 MiB; 1 MiB is left, which is not more than 1 MiB
    assert allocator.allocated_bytes == 12 * MIB
    allocator.allocate(11 * MIB - 512)  # 1 MiB and 512 B would be left: split off
    assert allocator.allocated_bytes == 23 * MIB - 512


def test_small_remainders_are_split_off() -> None:
    allocator = CachingAllocator()
    allocator.allocate(MIB - 511)
    assert allocator.allocated_bytes == MIB
    allocator.allocate(MIB - 512)
    assert allocator.allocated_bytes == 2 * MIB - 512
    allocator.allocate(1)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (2 * MIB, 2 * MIB)


def test_best_fit_takes_the_smallest_then_the_lowest() -> None:
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size * MIB) for size in (40, 20, 20, 60)]
    addresses = [block.address for block in blocks]
    for block in blocks:
        allocator.release(block)
    assert allocator.allocate(20 * MIB).address == addresses[1]
    assert allocator.allocate(15 * MIB).address == addresses[2]
    assert allocator.allocate(15 * MIB).address == addresses[0]


def test_at_the_limit_free_segments_are_returned() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    first = allocator.allocate(60 * MIB)
    allocator.release(first)
    allocator.allocate(80 * MIB)
    assert allocator.out_of_memory is None
    assert (allocator.num_returned_segments, allocator.reserved_bytes) == (1, 80 * MIB)


def test_beyond_the_limit_the_failing_request_is_kept_and_the_rest_goes_on() -> None:
    allocator = CachingAllocator(capacity_bytes=100 * MIB)
    allocator.allocate(60 * MIB)
    allocator.allocate(50 * MIB)
    assert allocator.out_of_memory is not None
    assert allocator.out_of_memory.requested_bytes == 50 * MIB
    assert allocator.out_of_memory.allocated_bytes == 60 * MIB
    assert allocator.reserved_bytes == 110 * MIB


# --- a second implementation, as plain as can be ------------------------------------------------------------------


class PlainAllocator:
    """Segments as lists of [size, owner]; searches everything, every time."""

    def __init__(self) -> None:
        self.segments: list[tuple[bool, list[list[int]]]] = []

    def allocate(self, owner: int, requested: int) -> None:
        size = (requested + 511) // 512 * 512
        is_small = size <= MIB
        free = [
            (block[0], s, b)
            for s, (small, blocks) in enumerate(self.segments)
            if small == is_small
            for b, block in enumerate(blocks)
            if block[1] < 0 and block[0] >= size
        ]
        if free:
            _, s, b = min(free)
        else:
            self.segments.append((is_small, [[segment_bytes(size), -1]]))
            s, b = len(self.segments) - 1, 0
        blocks = self.segments[s][1]
        rest = blocks[b][0] - size
        if rest >= 512 if is_small else rest > MIB:
            blocks[b : b + 1] = [[size, owner], [rest, -1]]
        else:
            blocks[b][1] = owner

    def release(self, owner: int) -> None:
        for _, blocks in self.segments:
            for block in blocks:
                if block[1] == owner:
                    block[1] = -1
            at = 0
            while at + 1 < len(blocks):
                if blocks[at][1] < 0 and blocks[at + 1][1] < 0:
                    blocks[at : at + 2] = [[blocks[at][0] + blocks[at + 1][0], -1]]
                else:
                    at += 1

    @property
    def reserved(self) -> int:
        return sum(block[0] for _, blocks in self.segments for block in blocks)

    @property
    def allocated(self) -> int:
        return sum(block[0] for _, blocks in self.segments for block in blocks if block[1] >= 0)


sizes = st.one_of(
    st.integers(1, 2 * MIB), st.integers(MIB, 12 * MIB), st.integers(1, 64).map(lambda n: n * MIB), st.just(512)
)


@given(st.lists(st.tuples(sizes, st.integers(0, 5)), max_size=60))
def test_agrees_with_a_plain_implementation(requests: list[tuple[int, int]]) -> None:
    allocator, plain = CachingAllocator(), PlainAllocator()
    live: list[tuple[int, Block]] = []
    for owner, (size, releases) in enumerate(requests):
        live.append((owner, allocator.allocate(size)))
        plain.allocate(owner, size)
        for _ in range(min(releases, len(live) - 1)):
            number, block = live.pop(size % len(live))
            allocator.release(block)
            plain.release(number)
        assert (allocator.reserved_bytes, allocator.allocated_bytes) == (plain.reserved, plain.allocated)


@given(st.lists(sizes, max_size=40))
def test_releasing_everything_leaves_whole_segments(requests: list[int]) -> None:
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size) for size in requests]
    assert allocator.reserved_bytes >= allocator.allocated_bytes >= sum(requests)
    for block in blocks:
        allocator.release(block)
    assert allocator.allocated_bytes == 0
    for segment in allocator.segments.values():
        assert [(b.size_bytes, b.is_free) for b in segment.blocks()] == [(segment.size_bytes, True)]
