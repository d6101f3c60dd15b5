"""What an operation takes longer because other memory was touched meanwhile: for its data, and for the host's own.

The host's code and data are driven out of its caches by what the kernels before moved. So calls come in pairs: one
that has next to no data pays for the host, and one of the same code right behind it pays for its data alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import fmean, median
from typing import NamedTuple

import torch

from trainworthy.hardware.calibration import RefillPoint, ReusePoint

_MIB = 1 << 20
DISTANCES_BYTES = tuple(_MIB * m for m in (1, 2, 4, 8, 12, 24, 48, 96, 256))
_NEAR_BYTES = 8 * _MIB


class _Data(NamedTuple):
    """A kernel, and the bytes that it moves."""

    call: Callable[[], object]
    moved_bytes: int


class _Pair(NamedTuple):
    """A call without data, and kernels of the same code: one that fits into small caches, one that does not."""

    host: Callable[[], object]
    near: _Data
    far: _Data


class ColdCosts:
    """Collects samples again and again: neighbours on the same processor take caches and bandwidth at times."""

    def __init__(self) -> None:
        self._other = torch.ones(DISTANCES_BYTES[-1] // 4)
        self._pairs = (_stream_pair(), _product_pair())
        # By pair and distance (0: nothing was touched), seconds of the host's call, the near and the far kernel.
        self._samples: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def sample(self) -> None:
        """Time all calls once at each distance."""
        for at, pair in enumerate(self._pairs):
            for distance in (0, *DISTANCES_BYTES):
                times = tuple(self._after(pair, kernel, distance) for kernel in (pair.near, pair.far))
                (host_s, near_s), (again_s, far_s) = times
                self._samples.setdefault((at, distance), []).append(((host_s + again_s) / 2, near_s, far_s))

    def _after(self, pair: _Pair, kernel: _Data, distance_bytes: int) -> tuple[float, float]:
        kernel.call()
        pair.host()
        self._other[: max(distance_bytes // 4, 16)].mul_(1.0)
        start = time.perf_counter()
        pair.host()
        between = time.perf_counter()
        kernel.call()
        return between - start, time.perf_counter() - between

    def refill(self) -> tuple[RefillPoint, ...]:
        """Return what the host's calls take longer by distance."""
        return tuple(
            RefillPoint(float(distance), *(_rounded(self._extra_s(at, distance, 0)) for at in range(len(self._pairs))))
            for distance in DISTANCES_BYTES
        )

    def reuse(self) -> tuple[ReusePoint, ...]:
        """Return what a byte costs more by distance.

        Up to a few MiB small kernels tell it, which find their data in the closest caches otherwise. Beyond that it is
        what large ones take on top: they stream, while much of what a small one waits for is its first bytes.
        """
        near = {d: self._per_byte_s(d, far=False) for d in DISTANCES_BYTES if d <= _NEAR_BYTES}
        base, far_base = near[_NEAR_BYTES], self._per_byte_s(_NEAR_BYTES, far=True)
        costs = {d: base + max(self._per_byte_s(d, far=True) - far_base, 0.0) for d in DISTANCES_BYTES} | near
        return tuple(ReusePoint(float(distance), _rounded(costs[distance])) for distance in DISTANCES_BYTES)

    def _per_byte_s(self, distance: int, *, far: bool) -> float:
        kernels = [pair.far if far else pair.near for pair in self._pairs]
        return fmean(self._extra_s(at, distance, 1 + far) / k.moved_bytes for at, k in enumerate(kernels))

    def _extra_s(self, pair: int, distance: int, part: int) -> float:
        cold, warm = (median(sample[part] for sample in self._samples[pair, d]) for d in (distance, 0))
        return max(cold - warm, 0.0)


def _stream_pair() -> _Pair:
    few, few_out = torch.ones(2, 16)
    kernels = []
    for elements in (_MIB // 4, _MIB):
        x, out = torch.ones(2, elements)
        kernels.append(_Data(lambda x=x, out=out: torch.mul(x, 2.0, out=out), 8 * elements))  # type: ignore[misc]
    return _Pair(lambda: torch.mul(few, 2.0, out=few_out), *kernels)


def _product_pair() -> _Pair:
    layer, few = torch.nn.Linear(8, 8), torch.rand(4, 8)
    kernels = []
    for rows, inputs, outputs in ((160, 256, 768), (1152, 224, 896)):
        x, weight, out = torch.rand(rows, inputs), torch.rand(outputs, inputs).t(), torch.empty(rows, outputs)
        moved = 4 * (x.numel() + weight.numel() + out.numel())
        kernels.append(_Data(lambda x=x, w=weight, out=out: torch.mm(x, w, out=out), moved))  # type: ignore[misc]
    return _Pair(lambda: layer(few), *kernels)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
