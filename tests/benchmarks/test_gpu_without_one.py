"""What benchmarks/gpu.py does around the GPU, as far as it goes without one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu import compare_case, compare_probes, row_of
from benchmarks.gpu_cases import block_differences, by_size, live_at_peak


def test_live_at_peak() -> None:
    events = [("alloc", 1, 512), ("alloc", 2, 2048), ("free_requested", 1, 512), ("free_completed", 1, 512),
              ("alloc", 1, 512), ("alloc", 3, 512), ("free_completed", 2, 2048), ("alloc", 2, 1024)]  # fmt: skip
    assert live_at_peak(events) == {"2048": 1, "512": 2}


@given(st.lists(st.sampled_from([512, 1024, 4096])))
def test_equal_peaks_have_no_differences(sizes: list[int]) -> None:
    assert block_differences(by_size(sizes), by_size(reversed(sizes))) == []


def test_differences_are_listed_by_bytes() -> None:
    rows = block_differences({"512": 9, "4096": 1}, {"512": 2, "4096": 3})
    assert rows == [
        {"block_bytes": 4096, "seen": 1, "predicted": 3},
        {"block_bytes": 512, "seen": 9, "predicted": 2},
    ]


def test_rows_are_found_by_exact_name() -> None:
    assert row_of("NVIDIA H200") == "h200-sxm-141gb"
    assert row_of("NVIDIA H2000") is None


@pytest.mark.slow
def test_dry_run() -> None:
    found = compare_case("mlp_sgd", "h200-sxm-141gb", dry_run=True)
    assert found["good"], found
    assert found["block_differences"] == []
    for probe, answer in compare_probes("h200-sxm-141gb", dry_run=True).items():
        assert answer["asked"] > 5, probe
        assert answer["same"] == answer["asked"], probe
