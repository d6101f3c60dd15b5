from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas import roofline as r
from trainworthy.formulas.flops import matmul_bytes, matmul_flops
from trainworthy.hardware import gpu_row

work = st.floats(1, 1e18)
rates = {"peak_tflops": st.floats(0.1, 1e4), "memory_gb_per_s": st.floats(1, 1e5)}


@given(flops=work, moved_bytes=work, **rates)
def test_attainable_times_time_is_the_work(
    *, flops: float, moved_bytes: float, peak_tflops: float, memory_gb_per_s: float
) -> None:
    machine = {"peak_tflops": peak_tflops, "memory_gb_per_s": memory_gb_per_s}
    intensity = r.arithmetic_intensity(flops=flops, moved_bytes=moved_bytes)
    time_s = r.roofline_time_s(flops=flops, moved_bytes=moved_bytes, **machine)
    assert r.attainable_tflops(intensity=intensity, **machine) * 1e12 * time_s == pytest.approx(flops)
    assert 0 < r.utilisation(model_flops=flops, time_s=time_s, peak_tflops=peak_tflops) <= 1 + 1e-9
    bound = r.bound(flops=flops, moved_bytes=moved_bytes, **machine)
    ridge = r.ops_to_byte_ratio(**machine)
    if abs(intensity / ridge - 1) > 1e-9:
        assert bound == ("compute" if intensity > ridge else "memory")
        assert r.attainable_tflops(intensity=ridge, **machine) == pytest.approx(peak_tflops)


def test_golden_of_nvidia_s_guide() -> None:
    # "Matrix multiplication background": m = n = 8192, k = 128 in fp16 on a V100: 124.1 FLOP/B below 138.9.
    v100 = gpu_row("v100-sxm2-16gb")
    size = {"m": 8192, "k": 128, "n": 8192}
    flops, moved = matmul_flops(**size), matmul_bytes(**size, bytes_per_element=2)
    assert round(r.arithmetic_intensity(flops=flops, moved_bytes=moved), 1) == 124.1
    peak = v100.peak_tflops("fp16")
    assert peak is not None
    machine = {"peak_tflops": peak, "memory_gb_per_s": v100.memory_gb_per_s}
    assert round(r.ops_to_byte_ratio(**machine), 1) == 138.9
    assert r.bound(flops=flops, moved_bytes=moved, **machine) == "memory"
    size = {"m": 8192, "k": 8192, "n": 8192}
    intensity = matmul_flops(**size) / matmul_bytes(**size, bytes_per_element=2)
    assert round(intensity) == 2731


def test_balanced_is_neither() -> None:
    assert r.bound(flops=1e12, moved_bytes=1e9, peak_tflops=1, memory_gb_per_s=1) == "balanced"
    assert r.bound(flops=0, moved_bytes=1, peak_tflops=1, memory_gb_per_s=1) == "memory"


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: r.arithmetic_intensity(flops=1, moved_bytes=0), "moved_bytes"),
        (lambda: r.ops_to_byte_ratio(peak_tflops=0, memory_gb_per_s=1), "peak_tflops"),
        (lambda: r.roofline_time_s(flops=-1, moved_bytes=1, peak_tflops=1, memory_gb_per_s=1), "flops"),
        (lambda: r.attainable_tflops(intensity=1, peak_tflops=1, memory_gb_per_s=float("nan")), "memory_gb_per_s"),
        (lambda: r.utilisation(model_flops=1, time_s=0, peak_tflops=1), "time_s"),
    ],
)
def test_nonsense_is_refused_by_name(call: Any, argument: str) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    assert caught.value.argument == argument
