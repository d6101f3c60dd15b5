"""Kernels of a calibrated machine: the roofline of an operation, bent to the curve of its family."""

from __future__ import annotations

import itertools
from math import log2, prod
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate.curves import bandwidth_gb_per_s, curve_time_s
from trainworthy.estimate.gpu_kernels import gpu_kernel_times
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.op_features import dtype_of, place
from trainworthy.tape.record import Signature

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine
    from trainworthy.hardware.calibration import Calibration, Curve
    from trainworthy.tape.record import TensorMeta


_COPIES_FIRST = frozenset({"norm", "softmax", "pool", "conv_forward", "conv_backward", "rnn_forward", "rnn_backward"})


class KernelTime(NamedTuple):
    """Seconds of a kernel with its operands as close as its own working set allows; ``measured``: from a curve."""

    total_s: float
    compute_share: float
    """Of the roofline's arithmetic over the larger of arithmetic and traffic: 1 is bound by arithmetic."""
    measured: bool


def roofline_s(signature: Signature, *, calibration: Calibration) -> tuple[float, float, float]:
    """Return seconds of arithmetic, of memory traffic within the operation's working set, and the fixed part."""
    peaks = calibration.peaks_tflops
    rate = peaks.get(dtype_of(signature)) or peaks.get("fp32") or 1.0
    compute_s = (signature.flops or 0) / (rate * 1e12)
    moved = signature.moved_bytes
    memory_s = moved / (bandwidth_gb_per_s(calibration.bandwidth, moved) * 1e9) if moved else 0.0
    return compute_s, memory_s, calibration.launch_latency_s


def base_times_s(signature: Signature, *, machine: Machine) -> tuple[float, float, float]:
    """Return what a kernel is measured against: arithmetic, memory traffic, the fixed part.

    On a CPU the roofline. On a GPU whose row is known, what ``gpu_kernels`` says at the measured peaks and bandwidth:
    it knows tiles, passes and idle multiprocessors, so that less is left for the curves to say.
    """
    assert machine.calibration is not None
    if machine.gpu is None:
        return roofline_s(signature, calibration=machine.calibration)
    return gpu_kernel_times(signature, machine=machine, rates=machine.rates)


def find_curve(signature: Signature, calibration: Calibration) -> tuple[Curve, tuple[float, ...]] | None:
    """Return the curve of an operation's family, or of the next of kin, and where on it the operation lies."""
    placed = place(signature)
    # float16 is not measured everywhere that bfloat16 is; their kernels are alike.
    alike = [f.replace("/fp16", "/bf16") for f in (placed.family, *placed.fallbacks) if f.endswith("/fp16")]
    for family in (placed.family, *alike[:1], *placed.fallbacks, *alike[1:]):
        curve = calibration.curves.get(family)
        if curve is not None and len(curve.length_scales) == len(placed.features):
            return curve, placed.features
    return None


def kernel_time(signature: Signature, *, machine: Machine) -> KernelTime:
    """Return the time of an operation's kernel from the machine's calibration."""
    calibration = machine.calibration
    assert calibration is not None
    halves = _gradients(signature)
    if halves:
        times = [kernel_time(half, machine=machine) for half in halves]
        return KernelTime(sum(t.total_s for t in times), times[0].compute_share, all(t.measured for t in times))
    compute_s, memory_s, fixed_s = base_times_s(signature, machine=machine)
    base_s = max(compute_s, memory_s) + fixed_s
    found = find_curve(signature, calibration)
    share = compute_s / max(compute_s, memory_s) if max(compute_s, memory_s) else 0.0
    if found is None:  # a roofline promises too much of what it knows nothing of
        return KernelTime(max(compute_s, memory_s) * (1 if machine.gpu else 2) + fixed_s, share, measured=False)
    curve, features = found
    total_s = curve_time_s(curve, features, roofline_s=base_s)
    if machine.gpu is None:
        total_s += _layout_s(signature, calibration)
    return KernelTime(total_s, share, measured=True)


def _gradients(signature: Signature) -> list[Signature]:
    """Split a convolution's backward pass into the kernels of its input's and its weight's gradient."""
    if op_class(signature.name) != "conv_backward" or len(signature.inputs) < 3 or not signature.flops:
        return []
    x, weight = signature.inputs[1:3]
    if not {x.shape, weight.shape} <= {meta.shape for meta in signature.outputs} or x.shape == weight.shape:
        return []
    to_input = tuple(meta for meta in signature.outputs if meta.shape == x.shape)
    to_weight = tuple(meta for meta in signature.outputs if meta.shape != x.shape)
    size = signature.moved_bytes / max(sum(prod(m.shape) for m in (*signature.inputs, *signature.outputs)), 1)
    halves = []
    for kept, dropped in ((to_input, to_weight), (to_weight, to_input)):
        moved = signature.moved_bytes - round(size * sum(prod(m.shape) for m in dropped))
        halves.append(signature._replace(outputs=kept, flops=signature.flops // 2, moved_bytes=moved))
    return halves


def _layout_s(signature: Signature, calibration: Calibration) -> float:
    """Return what operands that lie across rows add: a copy first, or slow access by the kernel itself."""
    kind = op_class(signature.name)
    if kind in _COPIES_FIRST:
        return sum(_copy_s(meta, calibration) for meta in signature.inputs if is_across(meta))
    placed = place(signature)
    if kind not in {"elementwise", "transcendental", "loss", "other"} or ":strided/" not in placed.family:
        return 0.0
    if placed.family in calibration.curves:
        return 0.0
    features = placed.features[:1]
    times = [_curve_s(f"add:{variant}/fp32", features, signature, calibration) for variant in ("strided", "plain")]
    return max(times[0] - times[1], 0.0)


def _copy_s(meta: TensorMeta, calibration: Calibration) -> float:
    copied = Signature("clone", (meta,), (meta,), 0, 0, 0, 2 * prod(meta.shape) * 4)
    return _curve_s("clone:strided/fp32", (log2(max(prod(meta.shape), 1)),), copied, calibration)


def _curve_s(family: str, features: tuple[float, ...], signature: Signature, calibration: Calibration) -> float:
    curve = calibration.curves.get(family)
    if curve is None:
        return 0.0
    compute_s, memory_s, fixed_s = roofline_s(signature, calibration=calibration)
    return curve_time_s(curve, features, roofline_s=max(compute_s, memory_s) + fixed_s)


def is_across(meta: TensorMeta) -> bool:
    """Tell whether a matrix or larger tensor does not lie in the order of its dimensions."""
    if len(meta.shape) < 2 or prod(meta.shape) < 1024 or len(meta.stride) != len(meta.shape):
        return False
    strides = [stride for size, stride in zip(meta.shape, meta.stride, strict=True) if size > 1]
    channels_last = len(meta.shape) >= 4 and meta.stride[1] == 1
    return not channels_last and any(a < b for a, b in itertools.pairwise(strides))
