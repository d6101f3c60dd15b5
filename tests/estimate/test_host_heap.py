from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.host_heap import Block, HostHeap

MIB = 1 << 20


def test_a_large_block_is_mapped_and_fresh_each_time() -> None:
    heap = HostHeap()
    for _ in range(3):
        block = heap.allocate(40 * MIB)
        assert block.fresh_bytes >= 40 * MIB
        heap.free(block)


def test_a_block_below_the_largest_threshold_stays_once_the_threshold_has_risen() -> None:
    heap = HostHeap()
    heap.free(heap.allocate(8 * MIB))  # mapped; its size becomes the threshold
    first = heap.allocate(8 * MIB)
    heap.free(first)
    again = heap.allocate(8 * MIB)
    assert first.fresh_bytes > 0
    assert again.fresh_bytes == 0
    assert again.address == first.address


def test_a_top_of_more_than_twice_the_threshold_goes_back() -> None:
    heap = HostHeap()
    blocks = [heap.allocate(MIB // 2) for _ in range(10)]
    for block in reversed(blocks):
        heap.free(block)
    assert heap.end - heap.top < 2 * heap.threshold
    assert sum(heap.allocate(MIB // 2).fresh_bytes for _ in range(10)) > 2 * MIB


def test_a_small_block_at_the_top_holds_the_heap_up() -> None:
    heap = HostHeap()
    blocks = [heap.allocate(MIB // 2) for _ in range(10)]
    pin = heap.allocate(64)
    for block in blocks:
        heap.free(block)
    assert sum(heap.allocate(MIB // 2).fresh_bytes for _ in range(10)) == 0
    heap.free(pin)


@given(st.lists(st.integers(1, 3 * MIB), max_size=40), st.randoms(use_true_random=False))
def test_live_blocks_never_overlap(sizes: list[int], random: Random) -> None:
    heap = HostHeap()
    live: list[Block] = []
    for size in sizes:
        if live and random.random() < 0.4:
            heap.free(live.pop(random.randrange(len(live))))
        block = heap.allocate(size)
        assert block.size >= size
        assert 0 <= block.fresh_bytes <= block.size
        for other in live:
            assert block.address + block.size <= other.address or other.address + other.size <= block.address
        live.append(block)
