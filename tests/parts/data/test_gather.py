"""Gathering over a real group of three processes."""

from __future__ import annotations

from pathlib import Path

import torch

from distributed.gloo import run_ranks
from parts.ranks import gather_all, uneven
from trainworthy.parts.data.gather import gather_uneven


def test_every_rank_gets_what_every_rank_had(tmp_path: Path) -> None:
    want = list(zip(*(uneven(rank) for rank in range(3)), strict=True))
    for rank, (gathered, order) in enumerate(run_ranks(gather_all, 3, tmp_path)):
        for tensors, expected in zip(gathered, want, strict=True):
            assert [tensor.dtype for tensor in tensors] == [tensor.dtype for tensor in expected]
            assert all(torch.equal(got, held) for got, held in zip(tensors, expected, strict=True))
        assert order == [*range(rank, 10, 3), *([] if rank == 0 else [rank - 1])]


def test_alone_there_is_one() -> None:
    (only,) = gather_uneven(torch.ones(2, requires_grad=True))
    assert only.tolist() == [1.0, 1.0]
    assert not only.requires_grad
