"""What ``SyncBatchNorm`` is made of: statistics of one rank, of all ranks, and their gradients.

These kernels exist for CUDA only, and have no shape rules. Statistics are kept in float32 for half-precision inputs.
"""

from __future__ import annotations

from typing import Any

import torch

from trainworthy.virtual.device import VirtualDevice, handles
from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.tensors import like_virtual, new_virtual

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def _per_channel(x: torch.Tensor, count: int) -> tuple[torch.Tensor, ...]:
    dtype = torch.float32 if x.dtype in {torch.float16, torch.bfloat16} else x.dtype
    return tuple(new_virtual((x.shape[1],), dtype, shown_device(x)) for _ in range(count))


@handles("batch_norm_stats", "batch_norm_gather_stats", "batch_norm_gather_stats_with_counts")
def _statistics(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    """Mean and inverse standard deviation of every channel."""
    return _per_channel(args[0], 2)


@handles("batch_norm_elemt")
def _normalise(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    return like_virtual(args[0])


@handles("batch_norm_backward_reduce")
def _backward_sums(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    """Two sums for the gradient of the input, then those of weight and bias, where they are wanted."""
    x, wanted = args[1], args[5:8]
    sums = _per_channel(x, 2) if wanted[0] else (None, None)
    weight = args[4]
    own = [like_virtual(weight) if want and weight is not None else None for want in wanted[1:]]
    return (*sums, *own)


@handles("batch_norm_backward_elemt")
def _backward(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    return like_virtual(args[1])
