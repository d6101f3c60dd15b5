from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.memory import PRECISIONS, fsdp_transient_bytes, model_states, shard_parameters

parameters_of = st.integers(0, 10**13)


@given(parameters_of, st.integers(1, 5000), st.sampled_from(sorted(PRECISIONS)), st.sampled_from([0, 4, 8, 2.03125]))
def test_each_stage_holds_no_more_than_the_last(parameters: int, ranks: int, precision: str, rate: float) -> None:
    states = [
        model_states(
            parameters=parameters,
            optimizer_bytes_per_parameter=rate,
            precision=precision,
            zero_stage=stage,
            ranks=ranks,
        )
        for stage in range(4)
    ]
    for before, after in pairwise(states):
        assert after.total_bytes <= before.total_bytes
    # All ranks together hold everything once, but for what rounding adds.
    whole = states[0]
    for full, part in zip(whole, states[3], strict=True):
        assert full <= part * ranks < full + ranks


@given(parameters_of, st.integers(1, 5000))
def test_megatron_s_distributed_optimizer(parameters: int, ranks: int) -> None:
    # 18 bytes, or 6 + 12 / DP.
    def total(stage: int, ranks: int) -> int:
        return model_states(
            parameters=parameters * ranks, optimizer_bytes_per_parameter=8, precision="mixed-fp32-grad",
            zero_stage=stage, ranks=ranks,
        ).total_bytes  # fmt: skip

    assert total(0, ranks) == 18 * parameters * ranks
    assert total(1, ranks) == 6 * parameters * ranks + 12 * parameters


def test_golden_of_zero_s_figure_1() -> None:
    # 7.5 B parameters, K = 12, 64 ranks: 120, 31.4, 16.6 and 1.9 GB.
    figures = [
        model_states(parameters=75 * 10**8, optimizer_bytes_per_parameter=8, zero_stage=s, ranks=64).total_bytes / 1e9
        for s in range(4)
    ]
    assert figures == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(1, 9))
def test_shards_are_those_of_torch_chunk(sizes: list[int], ranks: int) -> None:
    chunks = torch.empty(sizes, device="meta").chunk(ranks, dim=0)
    expected = [chunk.numel() for chunk in chunks] + [0] * (ranks - len(chunks))
    assert [shard_parameters(sizes=tuple(sizes), ranks=ranks, rank=rank) for rank in range(ranks)] == expected
    assert sum(expected) == torch.empty(sizes, device="meta").numel()


def test_fsdp_gathers_units() -> None:
    assert fsdp_transient_bytes(unit_parameters=100, ranks=1) == 0
    assert fsdp_transient_bytes(unit_parameters=101, ranks=4, compute_bytes=2, reduce_bytes=4) == 104 * 8
    one = fsdp_transient_bytes(unit_parameters=1000, ranks=4, units_gathered=1)
    assert fsdp_transient_bytes(unit_parameters=1000, ranks=4, units_gathered=2) - one == 2000


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: model_states(parameters=-1, optimizer_bytes_per_parameter=8), "parameters"),
        (lambda: model_states(parameters=1, optimizer_bytes_per_parameter=-8), "optimizer_bytes_per_parameter"),
        (lambda: model_states(parameters=1, optimizer_bytes_per_parameter=8, zero_stage=4), "zero_stage"),
        (lambda: model_states(parameters=1, optimizer_bytes_per_parameter=8, ranks=0), "ranks"),
        (lambda: model_states(parameters=1, optimizer_bytes_per_parameter=8, precision="fp7"), "precision"),
        (lambda: shard_parameters(sizes=(), ranks=2, rank=0), "sizes"),
        (lambda: shard_parameters(sizes=(2,), ranks=2, rank=2), "rank"),
        (lambda: fsdp_transient_bytes(unit_parameters=1, ranks=0), "ranks"),
    ],
)
def test_nonsense_is_refused_by_name(call: Any, argument: str) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    assert caught.value.argument == argument


def test_an_empty_tensor_has_empty_shards() -> None:
    assert [shard_parameters(sizes=(0, 3), ranks=2, rank=rank) for rank in range(2)] == [0, 0]
