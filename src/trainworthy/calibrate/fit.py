"""From measurements to curves: solves for the weights of the interpolant that ``estimate/curves.py`` sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import log
from statistics import median

import torch

from trainworthy.calibrate.probe import Measured
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.measured_kernels import base_times_s
from trainworthy.estimate.op_features import place
from trainworthy.hardware.calibration import Curve, Sample

_SCALES = (1.5, 3.0, 6.0, 12.0, 24.0)  # in doublings of a size
_NOISE = 0.05  # of the logarithm of one median


def fit_curves(measured: Sequence[Measured], *, machine: Machine) -> dict[str, Curve]:
    """Fit a curve to each family of kernels; ``machine`` has what was measured before, and no curves yet."""
    families: dict[str, dict[tuple[float, ...], list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for signature, time_s in measured:
        placed = place(signature)
        compute_s, memory_s, fixed_s = base_times_s(signature, machine=machine)
        ratio = log(time_s / (max(compute_s, memory_s) + fixed_s))
        families[placed.family][placed.features].append((time_s, ratio))
    return {name: _fit(points) for name, points in sorted(families.items())}


def _fit(points: dict[tuple[float, ...], list[tuple[float, float]]]) -> Curve:
    if all(len(features) == 1 for features in points):
        return _line(points)
    samples = tuple(Sample(features, median(t for t, _ in found)) for features, found in points.items())
    x = torch.tensor([s.features for s in samples], dtype=torch.float64)
    y = torch.tensor([median(r for _, r in found) for found in points.values()], dtype=torch.float64)
    mean = float(y.median())
    scales = _choose_scales(x, y - mean)
    weights, errors = _solve(x, y - mean, scales)
    return Curve(
        samples=tuple(Sample(tuple(round(f, 3) for f in s.features), float(f"{s.time_s:.4g}")) for s in samples),
        weights=tuple(float(f"{w:.5g}") for w in weights.tolist()),
        length_scales=tuple(scales),
        mean_log_ratio=round(mean, 4),
        typical_error=round(float(errors.abs().median()), 4) if len(samples) > 2 else None,
    )


def _line(points: dict[tuple[float, ...], list[tuple[float, float]]]) -> Curve:
    """Return a family of one size as it was measured."""
    samples = sorted(
        Sample((round(features[0], 3),), float(f"{median(t for t, _ in found):.4g}"))
        for features, found in points.items()
    )  # fmt: skip
    return Curve(samples=tuple(samples), length_scales=(1.0,))


def _choose_scales(x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Choose the length scale of each axis by leaving one sample out (Rasmussen and Williams 2006, equation 5.12)."""
    axes = x.shape[1]
    scales = [6.0] * axes
    if len(x) < 4:
        return scales
    for _ in range(2):
        for axis in range(axes):
            tried: list[tuple[float, ...]] = [(*scales[:axis], scale, *scales[axis + 1 :]) for scale in _SCALES]
            losses = [float(_solve(x, y, s)[1].square().clamp(max=1.0).mean()) for s in tried]
            scales = list(tried[losses.index(min(losses))])
    return scales


def _solve(x: torch.Tensor, y: torch.Tensor, scales: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights and the error at each sample when the others predict it."""
    scaled = x / torch.tensor(scales, dtype=x.dtype)
    distance = 3**0.5 * torch.cdist(scaled, scaled)
    variance = max(float(y.var()) if len(y) > 1 else 0.0, 0.01)
    kernel = (1 + distance) * torch.exp(-distance) + torch.eye(len(x), dtype=x.dtype) * (_NOISE**2 / variance)
    inverse = torch.linalg.inv(kernel)
    weights = inverse @ y
    return weights, weights / inverse.diagonal()
