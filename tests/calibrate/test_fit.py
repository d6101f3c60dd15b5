from __future__ import annotations

from dataclasses import replace
from math import exp

import pytest

from estimate.machines import fake_calibration, fake_machine, operation, tensor
from trainworthy.calibrate.fit import fit_curves
from trainworthy.calibrate.probe import Measured
from trainworthy.estimate.machine import gpu_machine
from trainworthy.estimate.measured_kernels import base_times_s, kernel_time, roofline_s
from trainworthy.tape.record import TensorMeta


def _product(size: int) -> Measured:
    """Products that take three times their roofline at every size."""
    signature = operation(
        "mm", [tensor(size, size)] * 2, [tensor(size, size)], flops=2 * size**3, moved=12 * size**2
    )  # fmt: skip
    compute_s, memory_s, fixed_s = roofline_s(signature, calibration=fake_calibration())
    return Measured(signature, 3 * (max(compute_s, memory_s) + fixed_s))


def test_a_fitted_curve_predicts_what_it_saw_and_what_lies_between() -> None:
    curves = fit_curves([_product(size) for size in (16, 64, 256, 1024)], machine=fake_machine())
    machine = fake_machine(curves=curves)
    for size in (16, 100, 256, 700):
        expected = _product(size)
        assert kernel_time(expected.signature, machine=machine).total_s == pytest.approx(expected.time_s, rel=0.02)


def test_the_error_of_left_out_samples_is_told() -> None:
    curves = fit_curves([_product(size) for size in (16, 64, 256, 1024)], machine=fake_machine())
    assert curves["mm/fp32"].typical_error == pytest.approx(0.0, abs=0.01)


def test_on_a_gpu_with_a_row_a_curve_says_only_what_its_kernels_are_not_known_to_do() -> None:
    """An odd vocabulary makes a product five times slower on this GPU: known, so both lie on one flat curve."""
    bare = replace(
        fake_calibration(), device="cuda", device_name="NVIDIA H200", peaks_tflops={"bf16": 700.0}, curves={}
    )
    machine = gpu_machine("h200-sxm-141gb", calibration=bare)
    products = [
        operation("mm", [_bf16(4096, 768), _bf16(768, width)], [_bf16(4096, width)], flops=2 * 4096 * 768 * width)
        for width in (8192, 16384, 50257, 50304)
    ]
    bases = [base_times_s(each, machine=machine) for each in products]
    assert bases[2][0] > 4 * bases[3][0]
    measured = [Measured(each, 1.5 * (max(b[:2]) + b[2])) for each, b in zip(products, bases, strict=True)]
    curve = fit_curves(measured, machine=machine)["mm/bf16"]
    assert exp(curve.mean_log_ratio) == pytest.approx(1.5, rel=1e-3)
    assert max(map(abs, curve.weights)) < 1e-3


def _bf16(*shape: int) -> TensorMeta:
    return tensor(*shape)._replace(dtype="bfloat16", device="cuda:0")


def test_a_family_of_one_size_is_kept_as_measured() -> None:
    measured = [
        Measured(operation("relu", [tensor(n)], [tensor(n)], moved=8 * n), 1e-6 * exp(n / 1000))
        for n in (64, 1024, 256)
    ]
    curve = fit_curves(measured, machine=fake_machine())["relu:plain/fp32"]
    assert [sample.features for sample in curve.samples] == [(7.0,), (9.0,), (11.0,)]  # read and written
    assert curve.weights == ()
