from __future__ import annotations

from math import exp

import pytest

from estimate.machines import fake_calibration, fake_machine, operation, tensor
from trainworthy.calibrate.fit import fit_curves
from trainworthy.calibrate.probe import Measured
from trainworthy.estimate.measured_kernels import kernel_time, roofline_s


def _product(size: int) -> Measured:
    """Products that take three times their roofline at every size."""
    signature = operation(
        "mm", [tensor(size, size)] * 2, [tensor(size, size)], flops=2 * size**3, moved=12 * size**2
    )  # fmt: skip
    compute_s, memory_s, fixed_s = roofline_s(signature, calibration=fake_calibration())
    return Measured(signature, 3 * (max(compute_s, memory_s) + fixed_s))


def test_a_fitted_curve_predicts_what_it_saw_and_what_lies_between() -> None:
    curves = fit_curves([_product(size) for size in (16, 64, 256, 1024)], calibration=fake_calibration())
    machine = fake_machine(curves=curves)
    for size in (16, 100, 256, 700):
        expected = _product(size)
        assert kernel_time(expected.signature, machine=machine).total_s == pytest.approx(expected.time_s, rel=0.02)


def test_the_error_of_left_out_samples_is_told() -> None:
    curves = fit_curves([_product(size) for size in (16, 64, 256, 1024)], calibration=fake_calibration())
    assert curves["mm/fp32"].typical_error == pytest.approx(0.0, abs=0.01)


def test_a_family_of_one_size_is_kept_as_measured() -> None:
    measured = [
        Measured(operation("relu", [tensor(n)], [tensor(n)], moved=8 * n), 1e-6 * exp(n / 1000))
        for n in (64, 1024, 256)
    ]
    curve = fit_curves(measured, calibration=fake_calibration())["relu:plain/fp32"]
    assert [sample.features for sample in curve.samples] == [(7.0,), (9.0,), (11.0,)]  # read and written
    assert curve.weights == ()
