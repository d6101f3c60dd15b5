"""Buckets of gradients that ``DistributedDataParallel`` reduces together, and what a communication hook sees of them.

Source: torch/csrc/distributed/c10d/reducer.hpp and torch/csrc/distributed/c10d/comm.hpp (torch 2.13).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class GradBucket:
    """What a communication hook is given."""

    def __init__(self, bucket: Bucket, index: int, is_last: bool) -> None:
        self._bucket, self._index, self._is_last = bucket, index, is_last
        self._buffer = bucket.flat

    def index(self) -> int:
        """Return the number of the bucket, in the order of reduction."""
        return self._index

    def is_last(self) -> bool:
        """Tell whether it is the last of a backward pass."""
        return self._is_last

    def buffer(self) -> torch.Tensor:
        """Return the flat gradients."""
        return self._buffer

    def set_buffer(self, buffer: torch.Tensor) -> None:
        """Replace the flat gradients."""
        self._buffer = buffer

    def gradients(self) -> list[torch.Tensor]:
        """Return the gradients as views of the buffer."""
        return list(self._bucket.views)

    def parameters(self) -> list[torch.Tensor]:
        """Return the parameters."""
        return list(self._bucket.parameters)


class Bucket:
    """Gradients that are reduced together, as one flat tensor."""

    def __init__(self, indices: Sequence[int], parameters: Sequence[torch.Tensor]) -> None:
        self.indices = list(indices)
        self.parameters = list(parameters)
        first = self.parameters[0]
        size = sum(p.numel() for p in self.parameters)
        self.views: list[torch.Tensor] = []
        with torch.no_grad():
            self.flat = torch.empty(size, dtype=first.dtype, device=first.device)
            offset = 0
            for parameter in self.parameters:
                self.views.append(self.flat.as_strided(parameter.shape, parameter.stride(), offset))
                offset += parameter.numel()
        self.pending = len(self.indices)
        self.future: Any = None
