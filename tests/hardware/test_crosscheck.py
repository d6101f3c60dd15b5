from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import HardwareRowError
from trainworthy.hardware import gpu_row
from trainworthy.hardware.crosscheck import TOLERANCE, check_gpu, implied_tflops

H100 = gpu_row("h100-sxm-80gb")
L4 = gpu_row("l4-pcie-24gb")


def doctored(**changes: Any) -> str:
    with pytest.raises(HardwareRowError) as caught:
        check_gpu(replace(H100, **changes), where="row.toml")
    assert caught.value.where == "row.toml"
    return caught.value.message


def test_golden_h100_rates_from_counts_and_clocks() -> None:
    assert implied_tflops(H100, "bf16") == pytest.approx(132 * 4096 * 1.830e9 / 1e12)
    assert implied_tflops(H100, "fp32") == pytest.approx(132 * 256 * 1.980e9 / 1e12)


def test_a_sparse_rate_for_a_dense_one_is_refused() -> None:
    assert "peak_tflops.bf16 says 1979" in doctored(peaks_tflops={**H100.peaks_tflops, "bf16": 1979.0})


def test_the_bandwidth_of_another_card_is_refused() -> None:
    with pytest.raises(HardwareRowError, match=r"memory.gb_per_s says 3350 but the row implies 300"):
        check_gpu(replace(L4, memory_gb_per_s=3350), where="row.toml")


def test_other_contradictions_are_refused() -> None:
    assert "implies" in doctored(sm_count=114)
    assert "implies" in doctored(boost_mhz=1755)
    assert "promises 80 GB" in doctored(memory_bytes=94 * 2**30)
    assert "promises 80 GB" in doctored(memory_bytes=40 * 2**30)
    assert "not family-form-memory" in doctored(id="H100")
    assert "same types: bf16" in doctored(peaks_tflops={k: v for k, v in H100.peaks_tflops.items() if k != "bf16"})
    assert "Unknown type 'fp12'" in doctored(
        peaks_tflops={**H100.peaks_tflops, "fp12": 1.0},
        flop_per_clock_per_sm={**H100.flop_per_clock_per_sm, "fp12": 1},
    )


@pytest.mark.parametrize("value", [0, -1, "132", float("nan")])
def test_zero_and_text_are_not_numbers(value: object) -> None:
    assert "not a number above 0" in doctored(sm_count=value)
    assert "not a number above 0" in doctored(power_w=value)


def test_unknown_is_none() -> None:
    check_gpu(replace(H100, power_w=None, l2_bytes=None, gpu_link=None, notes=None), where="row.toml")


@given(factor=st.floats(min_value=0.1, max_value=10))
def test_more_than_the_tolerance_is_refused_and_less_is_not(factor: float) -> None:
    implied = implied_tflops(H100, "bf16")
    row = replace(H100, peaks_tflops={**H100.peaks_tflops, "bf16": implied * factor})
    if abs(factor - 1) > TOLERANCE * 1.000001:
        with pytest.raises(HardwareRowError, match="bf16"):
            check_gpu(row, where="row.toml")
    elif abs(factor - 1) < TOLERANCE * 0.999999:
        check_gpu(row, where="row.toml")
