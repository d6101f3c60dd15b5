"""Gathering tensors whose sizes differ between the ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist

_LARGEST_DIM = 8


def gather_uneven(tensor: Tensor, *, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Return the tensors of all ranks, each in its own shape; all ranks must call it.

    ``all_gather`` wants the same size everywhere and returns rubbish, or hangs, where it is not so. Here the shapes are
    gathered first, then the bytes, padded to the largest. Nothing is differentiated.

    Shapes:   any of at most 8 dimensions, also empty; the type of the numbers must be the same on all ranks
    Cost:     two collectives; ``ranks * largest`` bytes of memory

    Without a process group there is one rank:

    >>> gather_uneven(torch.tensor([1, 2]))
    [tensor([1, 2])]
    """
    if not (dist.is_available() and dist.is_initialized()):
        return [tensor.detach()]
    ranks = dist.get_world_size(group)
    sizes = [tensor.dim(), *tensor.shape, *[0] * (_LARGEST_DIM - tensor.dim())]
    mine = torch.tensor(sizes, device=tensor.device)
    every = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(every, mine, group=group)
    shapes = [torch.Size(row[1 : 1 + row[0]]) for row in (sizes.tolist() for sizes in every)]
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    lengths = [shape.numel() * tensor.element_size() for shape in shapes]
    padded = flat.new_zeros(max(lengths))
    padded[: flat.numel()] = flat
    filled = [torch.empty_like(padded) for _ in range(ranks)]
    dist.all_gather(filled, padded, group=group)
    return [
        row[:length].view(tensor.dtype).reshape(shape)
        for row, length, shape in zip(filled, lengths, shapes, strict=True)
    ]
