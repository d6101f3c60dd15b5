"""The roofline: work is bound by arithmetic or by memory, whichever takes longer."""

from __future__ import annotations

from typing import Literal

from trainworthy.formulas.arguments import require_not_negative, require_positive


def arithmetic_intensity(*, flops: float, moved_bytes: float) -> float:
    """Return FLOPs per byte moved between memory and the chip.

    Unit:     FLOP/B
    Exact?    as exact as the counts
    Source:   Williams, Waterman and Patterson, "Roofline", 2009

    >>> round(arithmetic_intensity(flops=2 * 8192 * 128 * 8192, moved_bytes=138412032), 1)
    124.1

    Raises:
        FormulaError: If FLOPs are negative or no byte is moved.
    """
    require_not_negative(flops=flops)
    require_positive(moved_bytes=moved_bytes)
    return flops / moved_bytes


def ops_to_byte_ratio(*, peak_tflops: float, memory_gb_per_s: float) -> float:
    """Return the intensity at which arithmetic and memory take the same time (the ridge of the roofline).

    Unit:     FLOP/B
    Exact?    for the stated peaks; what a kernel reaches has a ridge of its own
    Source:   NVIDIA, "GPU performance background user's guide": math and memory bounds

    >>> round(ops_to_byte_ratio(peak_tflops=125, memory_gb_per_s=900), 1)
    138.9

    Raises:
        FormulaError: If a rate is not above 0.
    """
    require_positive(peak_tflops=peak_tflops, memory_gb_per_s=memory_gb_per_s)
    return peak_tflops * 1e12 / (memory_gb_per_s * 1e9)


def bound(
    *, flops: float, moved_bytes: float, peak_tflops: float, memory_gb_per_s: float
) -> Literal["compute", "memory", "balanced"]:
    """Say which takes longer: ``"balanced"`` if they take the same time.

    Unit:     a word
    Exact?    for the stated peaks
    Source:   as `ops_to_byte_ratio`

    >>> bound(flops=2 * 8192 * 128 * 8192, moved_bytes=138412032, peak_tflops=125, memory_gb_per_s=900)
    'memory'

    Raises:
        FormulaError: If FLOPs or bytes are negative or a rate is not above 0.
    """
    compute_s = compute_time_s(flops=flops, peak_tflops=peak_tflops)
    memory_s = memory_time_s(moved_bytes=moved_bytes, memory_gb_per_s=memory_gb_per_s)
    if compute_s == memory_s:
        return "balanced"
    return "compute" if compute_s > memory_s else "memory"


def compute_time_s(*, flops: float, peak_tflops: float) -> float:
    """Return the time that the arithmetic takes at least.

    Unit:     s
    Exact?    a lower bound
    Source:   definition

    >>> compute_time_s(flops=125e12, peak_tflops=125)
    1.0

    Raises:
        FormulaError: If FLOPs are negative or the peak is not above 0.
    """
    require_not_negative(flops=flops)
    require_positive(peak_tflops=peak_tflops)
    return flops / (peak_tflops * 1e12)


def memory_time_s(*, moved_bytes: float, memory_gb_per_s: float) -> float:
    """Return the time that moving the bytes takes at least.

    Unit:     s
    Exact?    a lower bound; published triads reach 73 to 94 % of a GPU's stated bandwidth
    Source:   definition; te42kyfo/gpu-benches

    >>> memory_time_s(moved_bytes=9e11, memory_gb_per_s=900)
    1.0

    Raises:
        FormulaError: If the bytes are negative or the bandwidth is not above 0.
    """
    require_not_negative(moved_bytes=moved_bytes)
    require_positive(memory_gb_per_s=memory_gb_per_s)
    return moved_bytes / (memory_gb_per_s * 1e9)


def roofline_time_s(*, flops: float, moved_bytes: float, peak_tflops: float, memory_gb_per_s: float) -> float:
    """Return the longer of the two: arithmetic and memory traffic overlap.

    Unit:     s
    Exact?    a lower bound
    Source:   Williams et al. 2009

    >>> round(
    ...     roofline_time_s(flops=2 * 8192 * 128 * 8192, moved_bytes=138412032, peak_tflops=125, memory_gb_per_s=900)
    ...     * 1e6,
    ...     1,
    ... )
    153.8

    Raises:
        FormulaError: If FLOPs or bytes are negative or a rate is not above 0.
    """
    return max(
        compute_time_s(flops=flops, peak_tflops=peak_tflops),
        memory_time_s(moved_bytes=moved_bytes, memory_gb_per_s=memory_gb_per_s),
    )


def attainable_tflops(*, intensity: float, peak_tflops: float, memory_gb_per_s: float) -> float:
    """Return the roof over an intensity: the peak, or bandwidth times intensity if that is lower.

    Unit:     TFLOP/s
    Exact?    an upper bound
    Source:   Williams et al. 2009

    >>> attainable_tflops(intensity=10, peak_tflops=125, memory_gb_per_s=900)
    9.0

    Raises:
        FormulaError: If the intensity is negative or a rate is not above 0.
    """
    require_not_negative(intensity=intensity)
    require_positive(peak_tflops=peak_tflops, memory_gb_per_s=memory_gb_per_s)
    return min(peak_tflops, intensity * memory_gb_per_s / 1e3)


def utilisation(*, model_flops: float, time_s: float, peak_tflops: float, gpus: int = 1) -> float:
    """Return MFU: model FLOPs per second over the peak of all GPUs. With executed FLOPs it is HFU.

    Unit:     1
    Exact?    by definition; say which peak and how attention is counted
    Source:   Chowdhery et al., "PaLM", 2022; Korthikanti et al. 2022 for hardware FLOPs

    >>> utilisation(model_flops=4e15, time_s=10, peak_tflops=1000, gpus=2)
    0.2

    Raises:
        FormulaError: If FLOPs are negative or time, peak or GPUs are not above 0.
    """
    require_not_negative(model_flops=model_flops)
    require_positive(time_s=time_s, peak_tflops=peak_tflops, gpus=gpus)
    return model_flops / time_s / (peak_tflops * 1e12 * gpus)
