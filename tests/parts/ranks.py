"""What each rank of a real gloo group does in the tests of the parts; importable, as its processes want it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from trainworthy.parts.data.gather import gather_uneven
from trainworthy.parts.data.order import ReshufflingSampler


def uneven(rank: int) -> list[Tensor]:
    """Return what a rank holds: other sizes, other numbers of dimensions, nothing at all; each kind of number."""
    generator = torch.Generator().manual_seed(rank)
    return [
        torch.randn(rank, 3, generator=generator),
        torch.randn([2] * rank, generator=generator).bfloat16(),
        torch.arange(5 - 2 * rank),
        torch.tensor([True, False, True])[rank:],
        torch.tensor(1.5 * rank, dtype=torch.float64),
        torch.randn(4, 2 + rank, generator=generator).T,
    ]


def gather_all() -> tuple[list[list[Tensor]], list[int]]:
    """Gather what :func:`uneven` says; also what a sampler of the group gives."""
    dist.init_process_group("gloo")
    mine = uneven(dist.get_rank())
    sampler = ReshufflingSampler(range(10), shuffle=False)
    return [gather_uneven(tensor) for tensor in mine], list(sampler)
