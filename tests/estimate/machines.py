"""A made-up calibration that tests can compute with by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainworthy.estimate.machine import Machine, cpu_machine
from trainworthy.hardware.calibration import BandwidthPoint, Calibration, Curve, HostCosts, ReusePoint
from trainworthy.tape.record import Signature, TensorMeta

MIB = 1 << 20


def fake_calibration(*, curves: Mapping[str, Curve] | None = None, **fields: Any) -> Calibration:
    """100 GFLOP/s, 10 GB/s, 1 us a kernel, 2 us a forward operation; no curves unless given."""
    values: dict[str, Any] = {
        "id": "fake", "device": "cpu", "device_name": "Fake CPU", "date": "2026-11-01", "torch_version": "2.13.0",
        "threads": 2, "host_cpu": "Fake CPU", "peaks_tflops": {"fp32": 0.1},
        "bandwidth": (BandwidthPoint(1e6, 10.0), BandwidthPoint(1e8, 10.0)), "launch_latency_s": 1e-6,
        "host": HostCosts(forward_op_s=2e-6, backward_op_s=1e-6, optimizer_op_s=5e-7, view_s=3e-7, step_s=1e-5),
        "reuse": (ReusePoint(1.0 * MIB, 0.0), ReusePoint(64.0 * MIB, 1e-10)), "page_fault_s_per_byte": 1e-9,
        "curves": curves or {},
    }  # fmt: skip
    return Calibration(**{**values, **fields})


def fake_machine(**fields: Any) -> Machine:
    """The machine of `fake_calibration`."""
    return cpu_machine(calibration=fake_calibration(**fields))


def tensor(*shape: int, dtype: str = "float32", stride: tuple[int, ...] | None = None) -> TensorMeta:
    """A dense tensor on the CPU."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return TensorMeta(shape, stride or tuple(reversed(strides)), dtype, "cpu")


def operation(
    name: str, inputs: list[TensorMeta], outputs: list[TensorMeta], *, flops: int | None = 0, moved: int = 0
) -> Signature:
    """An operation of a tape."""
    return Signature(name, tuple(inputs), tuple(outputs), flops, 0, 0, moved)
