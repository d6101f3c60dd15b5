"""Replicas are compared across ranks, and data-parallel training is the same to the last bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from check.live.ranks import collectives, own_buffer, same_data, shard, train, train_all_ways
from distributed.gloo import run_ranks
from trainworthy.check.live.placements import bits


def test_a_clean_run_is_the_same_to_the_last_bit_and_has_no_finding(tmp_path: Path) -> None:
    without = run_ranks(partial(train, guarded=False, fault="none"), 2, tmp_path / "without")
    guarded = run_ranks(partial(train, guarded=True, fault="none"), 2, tmp_path / "guarded")
    assert [numbers for _, numbers in guarded] == [numbers for _, numbers in without]
    assert [findings for findings, _ in guarded] == [[], []]


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("inner", "TW450 After step 1, "),
        ("outside", "TW450 After step 1, 1 of 7 parameters outside of DistributedDataParallel differ between 2 ranks"),
        (
            "buffers",
            "TW406 After step 1, 2 buffers differ between 2 ranks, and broadcast_buffers is off: 1.running_mean",
        ),
    ],
)
def test_replicas_that_drift_apart_are_found_on_rank_0(fault: str, found: str, tmp_path: Path) -> None:
    findings = run_ranks(partial(train, guarded=True, fault=fault), 2, tmp_path)[0][0]
    assert len(findings) == 1
    assert findings[0].startswith(found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int8, torch.bool])
def test_bits_tell_tensors_apart_that_differ_in_one_bit(dtype: torch.dtype) -> None:
    tensor = torch.ones(5, 3).to(dtype).t()
    other = tensor.clone()
    assert int(bits(tensor)) == int(bits(other))
    other[0, 0] = 0
    assert int(bits(tensor)) != int(bits(other))


def test_a_run_with_everything_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    for found in run_ranks(train_all_ways, 2, tmp_path, limit_s=120):
        for kind in ("eager", "compiled"):
            assert found[f"{kind} guarded"][1] == found[f"{kind} alone"][1]
            assert found[f"{kind} guarded"][0] == []


def test_replicas_of_sharded_parameters_are_compared_by_their_placement(tmp_path: Path) -> None:
    assert run_ranks(partial(shard, fault=False), 2, tmp_path / "clean") == [[], []]
    (found,), nothing = run_ranks(partial(shard, fault=True), 2, tmp_path / "fault")
    assert nothing == []
    assert found.startswith("TW450 After step 2, 1 of 6 parameters differ between 2 ranks: 1.weight (rank 1 ")


def test_a_buffer_that_each_rank_computes_for_itself_is_found(tmp_path: Path) -> None:
    assert run_ranks(partial(own_buffer, fault=False), 2, tmp_path / "all") == [[], []]
    found, _ = run_ranks(partial(own_buffer, fault=True), 2, tmp_path / "own")
    assert found == [
        "TW406 After step 1, 1 buffers that a module computes itself differ between 2 ranks: 1.average"
    ]  # fmt: skip


def test_ranks_that_are_given_the_same_batches_are_told(tmp_path: Path) -> None:
    assert run_ranks(partial(same_data, fault=False), 2, tmp_path / "split") == [[], []]
    found, _ = run_ranks(partial(same_data, fault=True), 2, tmp_path / "same")
    assert found == ["TW409 All 2 ranks were given the same batch at steps 1, 2, 3, 4, 8"]


MISMATCHES = {
    "buffers": ("buffers of DistributedDataParallel", "gradients of DistributedDataParallel"),
    "metric": ("all_reduce of () float32", "buffers of DistributedDataParallel"),
    "uneven": ("all_gather that sends (3, 2) to rank 1 and expects (3, 2)", "all_gather that sends (4, 2) to rank 0"),
    "dtype": ("all_reduce of (2,) float64", "all_reduce of (2,) float32"),
    "root": ("broadcast of (2,) float32 with root 0", "broadcast of (2,) float32 with root 1"),
    "split": ("all_to_all_single that sends (3, 1) to rank 1", "all_to_all_single that sends (2, 1) to rank 0"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    faults = (*MISMATCHES, "none", "validates")
    return run_ranks(partial(collectives, faults), 2, tmp_path_factory.mktemp("collectives"))


@pytest.mark.parametrize("fault", MISMATCHES)
def test_ranks_that_do_different_things_are_told_before_they_hang(fault: str, told: list[dict[str, list[str]]]) -> None:
    for rank, sides in enumerate((MISMATCHES[fault], MISMATCHES[fault][::-1])):
        (message,) = told[rank][fault]
        assert message.startswith("TW401 Turn ")
        assert f"rank {rank} calls {sides[0]}" in message
        assert f"rank {1 - rank} calls {sides[1]}" in message


@pytest.mark.parametrize("fine", ["none", "validates"])
def test_collectives_that_fit_together_are_not_reported(fine: str, told: list[dict[str, list[str]]]) -> None:
    assert [rank[fine] for rank in told] == [[], []]


def test_ranks_without_common_memory_tell_each_other_through_the_store(
    told: list[dict[str, list[str]]], tmp_path: Path
) -> None:
    faults = ("metric", "none", "buffers")
    by_store = run_ranks(partial(collectives, faults, shared=False), 2, tmp_path)
    assert by_store == [{fault: rank[fault] for fault in faults} for rank in told]
