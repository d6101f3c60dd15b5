"""Kernels of a calibrated machine: the roofline of an operation, bent to the curve of its family."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trainworthy.estimate.curves import bandwidth_gb_per_s, curve_time_s
from trainworthy.estimate.op_features import place

if TYPE_CHECKING:
    from trainworthy.estimate.machine import Machine
    from trainworthy.hardware.calibration import Calibration, Curve
    from trainworthy.tape.record import Signature



class KernelTime(NamedTuple):
    """Seconds of a kernel with its operands as close as its own working set allows; ``measured``: from a curve."""

    total_s: float
    compute_share: float
    """Of the roofline's arithmetic over the larger of arithmetic and traffic: 1 is bound by arithmetic."""
    measured: bool


def roofline_s(signature: Signature, *, calibration: Calibration) -> tuple[float, float, float]:
    """Return seconds of arithmetic, of memory traffic within the operation's working set, and the fixed part."""
    from trainworthy.estimate.op_features import dtype_of

    peaks = calibration.peaks_tflops
    rate = peaks.get(dtype_of(signature)) or peaks.get("fp32") or 1.0
    compute_s = (signature.flops or 0) / (rate * 1e12)
    moved = signature.moved_bytes
    memory_s = moved / (bandwidth_gb_per_s(calibration.bandwidth, moved) * 1e9) if moved else 0.0
    return compute_s, memory_s, calibration.launch_latency_s


def find_curve(signature: Signature, calibration: Calibration) -> tuple[Curve, tuple[float, ...]] | None:
    """Return the curve of an operation's family, or of the next of kin, and where on it the operation lies."""
    placed = place(signature)
    for family in (placed.family, *placed.fallbacks):
        curve = calibration.curves.get(family)
        if curve is not None and len(curve.length_scales) == len(placed.features):
            return curve, placed.features
    return None


def kernel_time(signature: Signature, *, machine: Machine) -> KernelTime:
    """Return the time of an operation's kernel from the machine's calibration."""
    calibration = machine.calibration
    assert calibration is not None
    compute_s, memory_s, fixed_s = roofline_s(signature, calibration=calibration)
    base_s = max(compute_s, memory_s) + fixed_s
    found = find_curve(signature, calibration)
    share = compute_s / max(compute_s, memory_s) if max(compute_s, memory_s) else 0.0
    if found is None:
        return KernelTime(max(compute_s, memory_s) * 2 + fixed_s, share, measured=False)
    curve, features = found
    return KernelTime(curve_time_s(curve, features, roofline_s=base_s), share, measured=True)
