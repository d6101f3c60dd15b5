from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distributed import gloo
from trainworthy.train.replicas import _BUCKET_BYTES, Buffers, Replicas, _buckets


def test_buckets_hold_one_type_each_and_begin_with_the_last() -> None:
    small = [nn.Parameter(torch.zeros(3)) for _ in range(3)]
    half = nn.Parameter(torch.zeros(3, dtype=torch.float16))
    found = _buckets([small[0], half, small[1], small[2]])
    assert [[id(each) for each in bucket] for bucket in found] == [
        [id(small[2]), id(small[1]), id(small[0])],
        [id(half)],
    ]


def test_buckets_are_bounded() -> None:
    large = [nn.Parameter(torch.empty(_BUCKET_BYTES // 8, device="meta")) for _ in range(5)]
    assert [len(bucket) for bucket in _buckets(large)] == [2, 2, 1]


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(200, 200), nn.ReLU())))


def _train(model: nn.Module, steps: range, data: list[Tensor]) -> None:
    """Take steps with new replicas, as a run does that goes on."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    replicas = Replicas(list(model.parameters()), torch.distributed.group.WORLD)
    for step in steps:
        optimizer.zero_grad()
        replicas.expect()
        model(data[step]).square().sum().backward()
        replicas.finish()
        optimizer.step()
    replicas.close()


def _on_rank() -> dict[str, Any]:
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    generator = torch.Generator().manual_seed(rank)
    data = [torch.randn(8, 200, generator=generator) for _ in range(4)]
    whole, parts = _net(), _net()
    _train(whole, range(4), data)
    _train(parts, range(2), data)
    _train(parts, range(2, 4), data)
    return {
        "exact": all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True)),
        "weights": [each.detach() for each in whole.parameters()],
        "uneven": _uneven(rank),
        "buffers": _buffers(rank),
    }


def _uneven(rank: int) -> list[float | None]:
    """One parameter has a gradient on all ranks, one on some, one on none."""
    parameters = [nn.Parameter(torch.tensor(1.0)) for _ in range(3)]
    replicas = Replicas(parameters, torch.distributed.group.WORLD)
    total = parameters[0] * (rank + 1) + (parameters[1] * 10 if rank == 1 else 0)
    replicas.expect()
    total.backward()
    replicas.finish()
    return [None if each.grad is None else each.grad.item() for each in parameters]


def _buffers(rank: int) -> list[float]:
    """Replicas of BatchNorm see other data; their statistics are those of rank 0."""
    norm = nn.BatchNorm1d(1)
    buffers = Buffers(norm, torch.distributed.group.WORLD)
    buffers.join()
    norm(torch.full((4, 1), float(rank)) + torch.arange(4.0)[:, None])
    buffers.join()
    assert norm.running_mean is not None
    return [norm.running_mean.item(), float(norm.num_batches_tracked or 0)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return gloo.run_ranks(partial(_on_rank), 3, tmp_path_factory.mktemp("replicas"))


def test_a_run_that_goes_on_adds_in_the_same_order(ranks: list[dict[str, Any]]) -> None:
    """With three ranks DistributedDataParallel does not: it rebuilds its buckets after its first step."""
    assert all(each["exact"] for each in ranks)
    for each in ranks[1:]:
        assert all(torch.equal(a, b) for a, b in zip(each["weights"], ranks[0]["weights"], strict=True))


def test_missing_gradients_are_zero_unless_all_are_missing(ranks: list[dict[str, Any]]) -> None:
    assert [each["uneven"] for each in ranks] == [[6.0, 10.0, None]] * 3


def test_buffers_are_the_first_ranks(ranks: list[dict[str, Any]]) -> None:
    assert [each["buffers"] for each in ranks] == [[pytest.approx(0.15), 1.0]] * 3
