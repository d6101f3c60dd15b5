"""Replicas are compared across ranks, and data-parallel training is the same to the last bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from check.live.ranks import train
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
