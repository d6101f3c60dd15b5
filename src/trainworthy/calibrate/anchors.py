"""The same two kernels again and again while a machine is measured: whether its speed stays what it was.

Processors of virtual machines share power, caches and often cores with neighbours that no counter of the guest shows;
clocks change with temperature. A product shows the speed of arithmetic, a pass over an array that of memory.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch

from trainworthy.calibrate.timing import call_time_s


class Pace(NamedTuple):
    """How long the two kernels took at a time of the clock; relative to their medians once those are known."""

    at_s: float
    compute: float
    memory: float


class Anchors:
    """The kernels, with operands of their own."""

    def __init__(self, *, device: str) -> None:
        side, elements = (320, 1 << 20) if device == "cpu" else (4096, 1 << 26)
        self._device = device
        self._a, self._b, self._product = torch.randn(3, side, side, device=device)
        self._x, self._y = torch.ones(2, elements, device=device)

    def pace(self, at_s: float) -> Pace:
        """Time both."""
        return Pace(
            at_s,
            call_time_s(lambda: torch.mm(self._a, self._b, out=self._product), device=self._device, budget_s=0.003),
            call_time_s(lambda: torch.mul(self._x, 2.0, out=self._y), device=self._device, budget_s=0.003),
        )


def usual_pace_s(paces: Sequence[Pace]) -> tuple[float, float]:
    """Return the medians of both kernels."""
    return median(p.compute for p in paces), median(p.memory for p in paces)


def relative_paces(paces: Sequence[Pace]) -> list[Pace]:
    """Divide by the medians: 1.1 is a tenth slower than usual."""
    compute_s, memory_s = usual_pace_s(paces)
    return [Pace(p.at_s, p.compute / compute_s, p.memory / memory_s) for p in paces]


def pace_at(paces: Sequence[Pace], at_s: float) -> Pace:
    """Return the pace at a time: straight between the nearest that were taken, in order of time.

    >>> pace_at([Pace(0.0, 1.0, 1.0), Pace(10.0, 1.2, 1.0)], 5.0)
    Pace(at_s=5.0, compute=1.1, memory=1.0)
    """
    after = bisect_left([p.at_s for p in paces], at_s)
    if after in {0, len(paces)}:
        return paces[min(after, len(paces) - 1)]
    left, right = paces[after - 1], paces[after]
    share = (at_s - left.at_s) / (right.at_s - left.at_s)
    return Pace(
        at_s,
        left.compute + share * (right.compute - left.compute),
        left.memory + share * (right.memory - left.memory),
    )


def slowness(pace: Pace, base_s: tuple[float, float, float]) -> float:
    """Return how much longer a kernel took at a pace, by its seconds of arithmetic, of memory traffic and fixed ones.

    >>> round(slowness(Pace(0.0, 1.5, 1.0), (1e-3, 0.0, 1e-6)), 3), slowness(Pace(0.0, 1.5, 1.0), (0.0, 1e-3, 0.0))
    (1.5, 1.0)
    """
    compute_s, memory_s, fixed_s = base_s
    share = (compute_s + fixed_s) / max(compute_s + memory_s + fixed_s, 1e-12)
    return float(pace.compute**share * pace.memory ** (1 - share))


def drift(paces: Sequence[Pace]) -> float | None:
    """Return by how much the slower kernel's pace moved: its ninth decile over its first, less 1.

    >>> round(drift([Pace(float(i), 1.0 + 0.01 * i, 1.0) for i in range(11)]), 3)
    0.079
    """
    if len(paces) < 5:
        return None
    return max(_decile_spread([p.compute for p in paces]), _decile_spread([p.memory for p in paces]))


def _decile_spread(values: Sequence[float]) -> float:
    ordered = sorted(values)
    tenth = round(0.1 * (len(ordered) - 1))
    return ordered[-1 - tenth] / ordered[tenth] - 1
