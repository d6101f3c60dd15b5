"""What an operation takes longer because other memory was touched meanwhile: for its data, and for the host's own.

The host's code and data are driven out of its caches by what the kernels before moved. So calls come in pairs: one
that has next to no data pays for the host, and one of the same code right behind it pays for its data alone. A product
or a convolution then still takes longer than its bytes explain, and small ones as much as large ones (0.15 ms after
100 MiB): other code of the library, and memory of its own for packed and blocked operands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import fmean, median
from typing import NamedTuple

import torch

from trainworthy.hardware.calibration import RefillPoint, ReusePoint

_MIB = 1 << 20
DISTANCES_BYTES = tuple(_MIB * m for m in (1, 2, 4, 8, 12, 24, 48, 96, 256))
_NEAR_BYTES = 8 * _MIB
_WARM = 3  # after other kernels one call was not enough: the next still took twice what the third did


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
        self._pairs = {"stream": _stream_pair(), "product": _product_pair(), "convolution": _convolution_pair()}
        # By pair and distance (0: nothing was touched), seconds of the host's call, the near and the far kernel.
        self._samples: dict[tuple[str, int], list[tuple[float, float, float]]] = {}

    def sample(self) -> None:
        """Time all calls once at each distance."""
        for kind, pair in self._pairs.items():
            for distance in (0, *DISTANCES_BYTES):
                times = tuple(self._after(pair, kernel, distance) for kernel in (pair.near, pair.far))
                (host_s, near_s), (again_s, far_s) = times
                self._samples.setdefault((kind, distance), []).append(((host_s + again_s) / 2, near_s, far_s))

    def _after(self, pair: _Pair, kernel: _Data, distance_bytes: int) -> tuple[float, float]:
        for _ in range(_WARM):
            kernel.call()
        pair.host()
        self._other[: max(distance_bytes // 4, 16)].mul_(1.0)
        start = time.perf_counter()
        pair.host()
        between = time.perf_counter()
        kernel.call()
        return between - start, time.perf_counter() - between

    def refill(self) -> tuple[RefillPoint, ...]:
        """Return what the host's calls and the kernels of libraries take longer by distance."""
        reuse = self._reuse()
        return tuple(
            RefillPoint(
                float(distance),
                *(_rounded(self._extra_s(kind, distance, 0)) for kind in ("stream", "product")),
                *(_rounded(self._once_s(kind, distance, reuse[distance])) for kind in ("product", "convolution")),
            )
            for distance in DISTANCES_BYTES
        )

    def reuse(self) -> tuple[ReusePoint, ...]:
        """Return what a byte costs more by distance.

        Up to a few MiB a small kernel tells it, which finds its data in the closest caches otherwise. Beyond that it
        is what a large one takes on top.
        """
        return tuple(ReusePoint(float(distance), _rounded(cost)) for distance, cost in self._reuse().items())

    def _reuse(self) -> dict[int, float]:
        pair = self._pairs["stream"]
        near = {d: self._extra_s("stream", d, 1) / pair.near.moved_bytes for d in DISTANCES_BYTES if d <= _NEAR_BYTES}
        far = {d: self._extra_s("stream", d, 2) / pair.far.moved_bytes for d in DISTANCES_BYTES if d > _NEAR_BYTES}
        return near | {distance: near[_NEAR_BYTES] + cost for distance, cost in far.items()}

    def _once_s(self, kind: str, distance: int, s_per_byte: float) -> float:
        """Return what a kernel takes longer that its bytes do not explain: the mean of the near and the far one."""
        pair = self._pairs[kind]
        parts = ((1, pair.near.moved_bytes), (2, pair.far.moved_bytes))
        return max(fmean(self._extra_s(kind, distance, part) - s_per_byte * moved for part, moved in parts), 0.0)

    def _extra_s(self, kind: str, distance: int, part: int) -> float:
        cold, warm = (median(sample[part] for sample in self._samples[kind, d]) for d in (distance, 0))
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


def _convolution_pair() -> _Pair:
    layer, few = torch.nn.Conv2d(4, 4, 3), torch.rand(1, 4, 6, 6)
    kernels = []
    for images, channels, side, kernel in ((16, 24, 16, 3), (10, 80, 28, 1)):
        x, weight = torch.rand(images, channels, side, side), torch.rand(channels, channels, kernel, kernel)
        moved = 4 * (2 * x.numel() + weight.numel())
        call = partial(torch.conv2d, x, weight, padding=kernel // 2)
        kernels.append(_Data(call, moved))
    return _Pair(lambda: layer(few), *kernels)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
