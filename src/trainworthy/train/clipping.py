"""The norm of gradients and clipping to it, for plain tensors and for tensors sharded over any meshes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

# torch.nn.utils.clip_grad_norm_ refuses a mixture of plain tensors and DTensors, or of two meshes (torch 2.13), which
# is what a model has of which only some layers are sharded. Hence: a norm for each kind, combined; and only the local
# part of a gradient is scaled, because a factor is the same everywhere.


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the 2-norm of all gradients together, a scalar: over the shards of all ranks too, the same on each.

    Not covered are gradients that other ranks hold and this one has no part of (pipeline stages).
    """
    groups = _by_mesh(gradients)
    if len(groups) == 1:
        return _whole(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(groups[0]))))
    norms = [gradient_norm(group) for group in groups]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def host_norm(gradients: Sequence[Tensor]) -> float:
    """Return the same for whole tensors on the CPU, where reading a number costs less than another operator."""
    return math.hypot(*[each.item() for each in torch._foreach_norm(list(gradients))])


def scale_gradients(gradients: Sequence[Tensor], factor: Tensor | float) -> None:
    """Multiply all gradients by ``factor``, in place."""
    torch._foreach_mul_(_local(gradients), factor)


def clip_factor(norm: Tensor, limit: float) -> Tensor:
    """Return the factor that brings ``norm`` down to ``limit``, at most 1; as ``torch.nn.utils.clip_grad_norm_``."""
    return torch.clamp(limit / (norm + 1e-6), max=1.0)


def _whole(norm: Any) -> Tensor:
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole


def _local(gradients: Sequence[Any]) -> list[Tensor]:
    return [each.to_local() if hasattr(each, "to_local") else each for each in gradients]


def _by_mesh(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Group by device, dtype and mesh."""
    groups: dict[Any, list[Tensor]] = {}
    for each in gradients:
        groups.setdefault((getattr(each, "device_mesh", None), each.device, each.dtype), []).append(each)
    return list(groups.values())
