from __future__ import annotations

from math import log

import pytest

from estimate.machines import fake_machine, operation, tensor
from trainworthy.errors import UsageError
from trainworthy.estimate.machine import cpu_machine, gpu_machine
from trainworthy.estimate.measured_kernels import is_across, kernel_time
from trainworthy.estimate.op_cost import op_time
from trainworthy.hardware import gpu_rows
from trainworthy.hardware.calibration import Curve, Sample

PRODUCT = operation("mm", [tensor(100, 100)] * 2, [tensor(100, 100)], flops=2_000_000, moved=120_000)
ADD = operation("add.Tensor", [tensor(1000)] * 2, [tensor(1000)], moved=12_000)


def test_a_calibrated_kernel_is_its_roofline_times_the_curve() -> None:
    # 2e6 FLOP at 100 GFLOP/s are 20 us, memory takes 12 us, 1 us is fixed: 21 us; the curve says twice that.
    curve = Curve(samples=(Sample((0.0,) * 6, 1.0),), weights=(0.0,), length_scales=(1.0,) * 6, mean_log_ratio=log(2.0))
    time = op_time(PRODUCT, machine=fake_machine(curves={"mm/fp32": curve}))
    assert time.device_s == pytest.approx(42e-6)
    assert time.bound == "compute"
    assert time.host_s == pytest.approx(2e-6)


def test_phases_cost_the_host_differently() -> None:
    machine = fake_machine()
    hosts = [op_time(ADD, machine=machine, phase=phase).host_s for phase in ("forward", "backward", "optimizer")]
    assert hosts == [2e-6, 1e-6, 5e-7]


def test_a_view_costs_the_host_only() -> None:
    time = op_time(operation("view", [tensor(4, 4)], [tensor(16)]), machine=fake_machine())
    assert (time.device_s, time.host_s, time.bound) == (0.0, 3e-7, "host")


def test_an_operation_without_a_formula_is_not_known() -> None:
    assert not op_time(ADD._replace(name="fft_r2c", flops=None), machine=fake_machine()).known


def test_a_family_without_a_curve_takes_twice_its_roofline() -> None:
    time = kernel_time(ADD, machine=fake_machine(curves={"gelu:plain/fp32": _line(1e-6)}))
    assert not time.measured or time.total_s > 0  # a next of kin may have been measured
    unmeasured = kernel_time(ADD, machine=fake_machine(curves={"softmax/fp32": _line(1e-6)}))
    assert unmeasured.measured is False
    assert unmeasured.total_s == pytest.approx(2 * 12_000 / 10e9 + 1e-6)


def test_operands_across_rows_cost_more() -> None:
    curves = {"mul:plain/fp32": _line(1e-6), "add:plain/fp32": _line(1e-6), "add:strided/fp32": _line(5e-6)}
    across = tensor(64, 64, stride=(1, 64))
    plain = operation("mul.Tensor", [tensor(64, 64)] * 2, [tensor(64, 64)], moved=49_152)
    strided = operation("mul.Tensor", [tensor(64, 64), across], [tensor(64, 64)], moved=49_152)
    machine = fake_machine(curves=curves)
    difference = kernel_time(strided, machine=machine).total_s - kernel_time(plain, machine=machine).total_s
    assert difference == pytest.approx(4e-6)
    assert is_across(across)
    assert not is_across(tensor(64, 64))


def test_a_convolution_backward_is_the_sum_of_its_gradients() -> None:
    x, w, y = tensor(4, 8, 16, 16), tensor(32, 8, 3, 3), tensor(4, 32, 16, 16)
    flat = Curve(samples=(Sample((0.0,) * 9, 1.0),), weights=(0.0,), length_scales=(1.0,) * 9)
    machine = fake_machine(curves={"conv_backward_input/fp32": flat, "conv_backward_weight/fp32": flat})
    both = operation("convolution_backward", [y, x, w], [x, w, tensor(32)], flops=8_000_000)
    halves = [
        operation("convolution_backward", [y, x, w], outputs, flops=4_000_000) for outputs in ([x], [w, tensor(32)])
    ]
    times = [kernel_time(each, machine=machine).total_s for each in halves]
    assert kernel_time(both, machine=machine).total_s == pytest.approx(sum(times))


@pytest.mark.parametrize("name", list(gpu_rows()))
def test_every_gpu_works_without_a_calibration(name: str) -> None:
    product = operation(
        "mm", [tensor(4096, 4096, dtype="float16")] * 2, [tensor(4096, 4096, dtype="float16")],
        flops=2 * 4096**3, moved=3 * 2 * 4096**2,
    )  # fmt: skip
    machine = gpu_machine(name)
    time = op_time(product, machine=machine)
    assert time.known
    assert 0 < product.flops / time.device_s < 1e12 * max(machine.gpu.peaks_tflops.values())  # type: ignore[operator, union-attr]


def test_a_cpu_of_which_nothing_is_known_is_an_error() -> None:
    with pytest.raises(UsageError, match="trainworthy calibrate"):
        cpu_machine()


def _line(time_s: float) -> Curve:
    return Curve(samples=(Sample((1.0,), time_s), Sample((30.0,), time_s)), length_scales=(1.0,))
