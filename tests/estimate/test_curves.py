from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.estimate.curves import at_distance, bandwidth_gb_per_s, curve_time_s, log_ratio, matern
from trainworthy.hardware.calibration import Curve, Sample

LINE = Curve(samples=(Sample((4.0,), 1e-6), Sample((10.0,), 4e-6), Sample((20.0,), 1e-3)), length_scales=(1.0,))


def test_an_interpolant_of_one_sample_is_right_there_and_forgets_far_away() -> None:
    # weight x k(0) + mean = log ratio at the sample; the kernel vanishes far away.
    curve = Curve(samples=(Sample((3.0, 5.0), 1.0),), weights=(log(4.0),), length_scales=(2.0, 2.0), mean_log_ratio=0.5)
    assert log_ratio(curve, (3.0, 5.0)) == pytest.approx(log(4.0) + 0.5)
    assert log_ratio(curve, (3.0, 500.0)) == pytest.approx(0.5)
    assert curve_time_s(curve, (3.0, 500.0), roofline_s=2.0) == pytest.approx(2.0 * exp(0.5))


def test_a_line_passes_through_its_samples() -> None:
    for sample in LINE.samples:
        assert curve_time_s(LINE, sample.features, roofline_s=1.0) == pytest.approx(sample.time_s)


def test_a_line_is_flat_below_and_grows_with_the_size_above() -> None:
    assert curve_time_s(LINE, (0.0,), roofline_s=1.0) == pytest.approx(1e-6)
    assert curve_time_s(LINE, (21.0,), roofline_s=1.0) == pytest.approx(2e-3)


@given(st.floats(0, 40), st.floats(0, 40))
def test_more_elements_never_take_less_time(a: float, b: float) -> None:
    small, large = sorted((a, b))
    assert curve_time_s(LINE, (small,), roofline_s=1.0) <= curve_time_s(LINE, (large,), roofline_s=1.0) * (1 + 1e-9)


@given(st.floats(0, 50), st.floats(0, 50))
def test_covariance_falls_with_distance(a: float, b: float) -> None:
    near, far = sorted((a, b))
    assert 1.0 >= matern(near) >= matern(far) >= 0.0


@given(st.floats(1, 1e12))
def test_bandwidth_stays_between_the_measured_ones(size: float) -> None:
    assert 10.0 - 1e-9 <= bandwidth_gb_per_s([(1e4, 200.0), (1e6, 80.0), (1e8, 10.0)], size) <= 200.0 + 1e-9


def test_no_measured_reuse_costs_nothing() -> None:
    assert at_distance((), 1e9) == 0.0
