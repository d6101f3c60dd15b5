from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._C import _distributed_c10d as dist

from trainworthy.errors import FormulaError
from trainworthy.formulas.buckets import (
    BUCKET_BYTES,
    FIRST_BUCKET_BYTES,
    allocator_block_bytes,
    allocator_segment_bytes,
    ddp_buckets,
)
from trainworthy.inspect.allocator import CachingAllocator, segment_bytes


@given(st.lists(st.integers(1, 2000), max_size=30), st.integers(1, 4000), st.integers(1, 4000))
def test_buckets_are_those_of_torch_s_reducer(elements: list[int], first: int, rest: int) -> None:
    assign = dist._compute_bucket_assignment_by_size
    tensors = [torch.empty(count) for count in elements]
    expected, _ = assign(tensors, [first, rest]) if tensors else ([], [])
    mine = ddp_buckets(sizes_bytes=[4 * count for count in elements], first_bucket_bytes=first, bucket_bytes=rest)
    assert sorted(map(list, mine)) == sorted(expected)
    assert [index for bucket in mine for index in bucket] == list(range(len(elements)))


def test_limits_are_torch_s() -> None:
    assert FIRST_BUCKET_BYTES == dist._DEFAULT_FIRST_BUCKET_BYTES
    assert BUCKET_BYTES == 25 * 1024 * 1024


@given(st.integers(1, 1 << 26))
def test_the_allocator_s_rules_are_those_that_the_replay_uses(size: int) -> None:
    block = allocator_block_bytes(requested_bytes=size)
    assert size <= block < size + 512
    assert allocator_segment_bytes(requested_bytes=size) == segment_bytes(block)
    allocator = CachingAllocator()
    allocator.allocate(size)
    assert allocator.reserved_bytes == allocator_segment_bytes(requested_bytes=size)


def test_nonsense_is_refused() -> None:
    assert allocator_segment_bytes(requested_bytes=0) == 0
    for function in (allocator_block_bytes, allocator_segment_bytes):
        with pytest.raises(FormulaError, match="requested_bytes is -1"):
            function(requested_bytes=-1)
    with pytest.raises(FormulaError, match="sizes_bytes is -5"):
        ddp_buckets(sizes_bytes=[3, -5])
