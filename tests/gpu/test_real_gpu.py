"""The virtual GPU against a real one: the same comparisons as benchmarks/gpu.py, one test each."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.gpu import ALLOCATED_TOLERANCE_PCT, RESERVED_TOLERANCE_PCT, compare_case, compare_probes
from benchmarks.gpu_cases import case_names

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def probes(row: str | None) -> dict[str, Any]:
    if row is None:
        pytest.skip("this GPU has no row in hardware/")
    return compare_probes(row)


@pytest.mark.parametrize("name", case_names())
def test_memory(name: str, row: str | None) -> None:
    found = compare_case(name, row)
    assert "error" not in found, found["error"]
    assert abs(found["allocated_error_pct"]) <= ALLOCATED_TOLERANCE_PCT, found["block_differences"]
    assert abs(found["reserved_error_pct"]) <= RESERVED_TOLERANCE_PCT, found["seen"]


@pytest.mark.parametrize("probe", ["device_properties", "attention_kernels", "autocast_dtypes", "error_texts"])
def test_answers(probe: str, probes: dict[str, Any]) -> None:
    assert "error" not in probes, probes["error"]
    assert probes[probe]["different"] == {}
