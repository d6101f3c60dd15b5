"""Outputs of a model, and whether they moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from trainworthy.check.live.loaders import tensors_in

_MOVED = 1e-3  # of the largest output: far above what another batch layout changes by rounding


def difference(old: torch.Tensor, new: torch.Tensor, whole: torch.Tensor) -> Iterator[dict[str, Any]]:
    """Yield how far ``new`` is from ``old``, a part of ``whole``, if that is more than rounding."""
    scale = float(whole.abs().max())
    change = float((old - new).abs().max()) if old.numel() else 0.0
    if scale > 0 and change > _MOVED * scale:
        yield {"change": change, "scale": scale, "shape": tuple(whole.shape)}


def outputs(value: Any, *, min_axes: int = 2) -> list[torch.Tensor]:
    """Return the tensors of ``min_axes`` dimensions or more in what a model gave, in float32."""
    if hasattr(value, "to_tuple"):
        value = value.to_tuple()
    return [t.float() for t in tensors_in(value) if t.is_floating_point() and t.dim() >= min_axes]
