"""How DistributedDataParallel gathers gradients into buckets, and how the caching allocator rounds."""

from __future__ import annotations

from collections.abc import Sequence

from trainworthy.formulas.arguments import ceil_div, require_whole

FIRST_BUCKET_BYTES = 1 << 20  # torch.distributed._DEFAULT_FIRST_BUCKET_BYTES
BUCKET_BYTES = 25 << 20  # bucket_cap_mb=25 of DistributedDataParallel


def ddp_buckets(
    *, sizes_bytes: Sequence[int], first_bucket_bytes: int = FIRST_BUCKET_BYTES, bucket_bytes: int = BUCKET_BYTES
) -> tuple[tuple[int, ...], ...]:
    """Assign tensors, in the order given, to buckets: one is closed as soon as it has reached its limit.

    DDP assigns at first in the order of ``model.parameters()`` and reduces the buckets from the last to the first;
    after the first backward pass it assigns again, in the order in which the gradients arrived. The small first bucket
    lets communication begin early.

    Shapes:   bytes of each gradient, all of one type
    Unit:     indices of the tensors in each bucket
    Exact?    yes for one type on one device; types are kept apart
    Source:   torch/csrc/distributed/c10d/reducer.cpp, compute_bucket_assignment_by_size (torch 2.13)

    >>> ddp_buckets(sizes_bytes=[600_000, 600_000, 20 << 20, 6 << 20, 100])
    ((0, 1), (2, 3), (4,))

    Raises:
        FormulaError: For a negative size or limit.
    """
    require_whole(0, first_bucket_bytes=first_bucket_bytes, bucket_bytes=bucket_bytes)
    buckets: list[tuple[int, ...]] = []
    current: list[int] = []
    filled, limit = 0, first_bucket_bytes
    for index, size in enumerate(sizes_bytes):
        require_whole(0, sizes_bytes=size)
        current.append(index)
        filled += size
        if filled >= limit:
            buckets.append(tuple(current))
            current, filled, limit = [], 0, bucket_bytes
    if current:
        buckets.append(tuple(current))
    return tuple(buckets)


def allocator_block_bytes(*, requested_bytes: int) -> int:
    """Round a request to PyTorch's CUDA caching allocator up to what a tensor takes at least.

    Unit:     bytes
    Exact?    with the default settings; a block that is not split may be larger
    Source:   c10/core/AllocatorConfig.h (torch 2.13): kMinBlockSize 512

    >>> [allocator_block_bytes(requested_bytes=size) for size in (0, 1, 512, 513)]
    [0, 512, 512, 1024]

    Raises:
        FormulaError: For a negative size.
    """
    require_whole(0, requested_bytes=requested_bytes)
    return ceil_div(requested_bytes, 512) * 512


def allocator_segment_bytes(*, requested_bytes: int) -> int:
    """Return what the driver is asked for when a request finds no free block.

    Up to 1 MiB: a segment of 2 MiB. Below 10 MiB: 20 MiB. Above: the request, rounded up to 2 MiB.

    Unit:     bytes
    Exact?    with the default settings
    Source:   c10/core/AllocatorConfig.h (torch 2.13): kSmallSize, kSmallBuffer, kLargeBuffer, kMinLargeAlloc,
              kRoundLarge

    >>> [allocator_segment_bytes(requested_bytes=size) >> 20 for size in (1, 1 << 20, 3 << 20, 11 << 20)]
    [2, 2, 20, 12]

    Raises:
        FormulaError: For a negative size.
    """
    size = allocator_block_bytes(requested_bytes=requested_bytes)
    if size == 0:
        return 0
    if size <= 1 << 20:
        return 2 << 20
    if size < 10 << 20:
        return 20 << 20
    return ceil_div(size, 2 << 20) * (2 << 20)
