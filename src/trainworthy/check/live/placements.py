"""Numbers that stand for the bits of a tensor, and which ranks must have the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from trainworthy.check.live.watch import plain

PARTS = ""  # the part of a tensor that is whole on every rank
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Replica(NamedTuple):
    """A tensor as one rank holds it: a number for its bits, and of which part of it that is."""

    name: str
    value: int
    part: str


def same_part(tensor: Any) -> str | None:
    """Name the part of a DTensor that this rank holds: equal names, equal bits. None if it is none, or not replicated.

    The name says where the rank stands along the dimensions of the device mesh that are sharded; along the others the
    tensor is replicated.
    """
    if type(tensor).__name__ == "Parameter":
        tensor = tensor.data
    if type(tensor).__name__ != "DTensor":
        return None
    placements, mesh = tensor.placements, tensor.device_mesh
    coordinate = mesh.get_coordinate()
    if coordinate is None or any(p.is_partial() for p in placements) or not plain(tensor.to_local().detach()):
        return None
    sharded = [(dim, coordinate[dim]) for dim, p in enumerate(placements) if not p.is_replicate()]
    return f"{sorted(mesh.mesh.flatten().tolist())} {sharded}"


def plain_local(tensor: Any) -> torch.Tensor:
    """Return what this rank holds of a DTensor."""
    local: torch.Tensor = tensor.to_local().detach()
    return local


def own_buffers(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the buffers that are not the statistics of torch's norms, which are known to be those of one rank."""
    norms = {path for path, module in model.named_modules() if isinstance(module, _NormBase)}
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[0] not in norms:
            yield name, buffer


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor's bits, read as integers: equal tensors have equal sums, whatever the device."""
    kind = _INTEGERS[tensor.element_size()]
    return tensor.detach().contiguous().view(-1).view(kind).sum(dtype=torch.int64)


def read_integers(values: list[torch.Tensor]) -> list[int]:
    """Bring 64-bit integers home without rounding them."""
    return [int(v) for v in torch.stack([v.cpu() for v in values]).tolist()] if values else []
