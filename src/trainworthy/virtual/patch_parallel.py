"""What ``nn.DataParallel`` asks of torch's C++ on one GPU; a CPU build of torch lacks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import Gpus


def _scatter(
    tensor: torch.Tensor, devices: Sequence[int], chunk_sizes: Any = None, dim: int = 0, streams: Any = None
) -> tuple[torch.Tensor, ...]:
    parts = tensor.split(chunk_sizes, dim) if chunk_sizes else tensor.chunk(len(devices), dim)
    return tuple(part.to(Gpus.current) for part in parts)


def _gather(tensors: Sequence[torch.Tensor], dim: int, destination: Any = None) -> torch.Tensor:
    return torch.cat([tensor.to(Gpus.current) for tensor in tensors], dim)


def _broadcast(tensor: torch.Tensor, devices: Sequence[int]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.to(Gpus.current) for _ in devices)


def _broadcast_coalesced(
    tensors: Sequence[torch.Tensor], devices: Sequence[int], buffer_size: int = 0
) -> list[list[torch.Tensor]]:
    return [[tensor.to(Gpus.current) for tensor in tensors] for _ in devices]


def parallel_patches() -> Patches:
    """Plan the functions of ``torch/csrc/cuda/python_comm.cpp`` for devices that are all the one GPU."""
    patches = Patches()
    patches.set_all(
        torch._C, _scatter=_scatter, _gather=_gather, _broadcast=_broadcast,
        _broadcast_coalesced=_broadcast_coalesced,
    )  # fmt: skip
    return patches
