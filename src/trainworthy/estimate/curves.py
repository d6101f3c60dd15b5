"""Time of a kernel between measured ones: an interpolant of the logarithm of measured over roofline time.

A roofline knows the orders of magnitude; a kernel's distance from it changes slowly with its sizes. So the logarithm of
that distance is interpolated over the logarithms of the sizes by a Gaussian process with a Matern-3/2 kernel
(Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, equations 2.25 and 4.17): exact at the samples
but for noise, smooth between them, and back to the family's mean far from all of them. The weights are solved for when
a machine is calibrated; here they are only summed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import exp, log, sqrt

from trainworthy.hardware.calibration import Curve

_ROOT3 = sqrt(3.0)


def matern(distance: float) -> float:
    """Return the Matern-3/2 covariance at a distance in length scales.

    >>> matern(0.0), round(matern(1.0), 3)
    (1.0, 0.483)
    """
    return (1.0 + _ROOT3 * distance) * exp(-_ROOT3 * distance)


def scaled_distance(a: Sequence[float], b: Sequence[float], scales: Sequence[float]) -> float:
    """Return the distance of two points whose axes are measured in length scales.

    >>> scaled_distance((0, 0), (3, 8), (1, 2))
    5.0
    """
    return sqrt(sum(((x - y) / scale) ** 2 for x, y, scale in zip(a, b, scales, strict=True)))


def log_ratio(curve: Curve, features: Sequence[float]) -> float:
    """Return the logarithm of kernel time over roofline time at ``features``."""
    total = curve.mean_log_ratio
    for sample, weight in zip(curve.samples, curve.weights, strict=False):
        total += weight * matern(scaled_distance(sample.features, features, curve.length_scales))
    return total


def curve_time_s(curve: Curve, features: Sequence[float], *, roofline_s: float) -> float:
    """Return the time of a kernel whose roofline time is ``roofline_s``.

    >>> from trainworthy.hardware.calibration import Sample
    >>> flat = Curve(samples=(Sample((1.0,), 2e-3),), weights=(0.0,), length_scales=(1.0,), mean_log_ratio=log(2))
    >>> round(curve_time_s(flat, (5.0,), roofline_s=1e-3), 6)
    0.002
    """
    if not curve.weights and len(features) == 1:
        return _line_time_s(curve, features[0])
    return roofline_s * exp(max(-3.0, min(5.0, log_ratio(curve, features))))


def _line_time_s(curve: Curve, size: float) -> float:
    """Interpolate the time itself, straight in logarithms; beyond the largest sample it grows with the size.

    For kernels that depend on one size only: samples lie close, and the roofline has nothing to add.
    """
    samples = curve.samples  # sorted
    if size <= samples[0].features[0]:
        return samples[0].time_s
    for left, right in itertools.pairwise(samples):
        if size <= right.features[0]:
            share = (size - left.features[0]) / (right.features[0] - left.features[0])
            # Fixed part and growing part: linear in the size itself within a piece, unless it is steeper than that.
            grown = (2.0**size - 2.0 ** left.features[0]) / (2.0 ** right.features[0] - 2.0 ** left.features[0])
            straight = exp((1 - share) * log(left.time_s) + share * log(right.time_s))
            return float(max(straight, left.time_s + grown * (right.time_s - left.time_s)))
    return float(samples[-1].time_s * 2.0 ** (size - samples[-1].features[0]))


def at_distance(points: Sequence[tuple[float, float]], distance_bytes: float) -> float:
    """Return a cost by reuse distance, linear in the distance's logarithm between (bytes, seconds) points.

    >>> points = [(1e6, 0.0), (1e8, 4e-11)]
    >>> [at_distance(points, distance) for distance in (1e3, 1e7, 1e9)]
    [0.0, 2e-11, 4e-11]
    """
    if not points or distance_bytes <= points[0][0]:
        return points[0][1] if points else 0.0
    for (size, cost), (next_size, next_cost) in itertools.pairwise(points):
        if distance_bytes <= next_size:
            share = log(distance_bytes / size) / log(next_size / size)
            return (1 - share) * cost + share * next_cost
    return points[-1][1]


def bandwidth_gb_per_s(points: Sequence[tuple[float, float]], working_set_bytes: float) -> float:
    """Return the bandwidth for a working set, linear in its logarithm between (bytes, GB/s) points.

    >>> points = [(1e3, 100.0), (1e6, 100.0), (1e9, 10.0)]
    >>> [round(bandwidth_gb_per_s(points, size), 1) for size in (10, 1e6, 1e9, 1e12)]
    [100.0, 100.0, 10.0, 10.0]
    """
    if working_set_bytes <= points[0][0]:
        return points[0][1]
    for (size, rate), (next_size, next_rate) in itertools.pairwise(points):
        if working_set_bytes <= next_size:
            share = log(working_set_bytes / size) / log(next_size / size)
            return exp((1 - share) * log(rate) + share * log(next_rate))
    return points[-1][1]
