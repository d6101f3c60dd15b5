"""Bandwidth by working set, the fixed part of a kernel, and the first touch of fresh memory."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

from trainworthy.calibrate.timing import call_time_s
from trainworthy.hardware.calibration import BandwidthPoint

_MIB = 1 << 20
# Of what is read and written together: inside each level of the caches of today's CPUs and GPUs, and far beyond them.
_CPU_SETS = tuple(_MIB * m for m in (0.125, 0.25, 0.5, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256))
_GPU_SETS = tuple(_MIB * m for m in (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024))

_MAPPED_BYTES = 33 * _MIB  # just more than the largest block that the C library must map


def fixed_time_s(*, device: str) -> float:
    """Return the time of an elementwise kernel that has nothing to do."""
    x, out = torch.rand(16, device=device), torch.empty(16, device=device)
    return call_time_s(lambda: torch.mul(x, 2.0, out=out), device=device)


def bandwidth_curve(*, device: str, fixed_s: float) -> tuple[BandwidthPoint, ...]:
    """Read one array and write another, of growing size, again and again."""
    points = []
    for working_set in _CPU_SETS if device == "cpu" else _GPU_SETS:
        elements = int(working_set) // 8
        x, out = torch.ones(elements, device=device), torch.empty(elements, device=device)
        time_s = call_time_s(lambda x=x, out=out: torch.mul(x, 2.0, out=out), device=device, budget_s=0.1)  # type: ignore[misc]
        rate = working_set / max(time_s - fixed_s, 0.2 * time_s) / 1e9
        points.append(BandwidthPoint(float(working_set), float(f"{rate:.4g}")))
    return tuple(points)


def page_fault_s_per_byte(*, budget_s: float = 3.0) -> float:
    """Time blocks that are mapped, written once and unmapped, less a second write: all that fresh memory costs.

    The mean of blocks that one thread writes and of blocks that all write: in a step there are both.
    """
    return (_fresh_s(_write_alone, budget_s / 2) + _fresh_s(_write, budget_s / 2)) / 2 / _MAPPED_BYTES


def _fresh_s(write: Callable[[torch.Tensor], object], budget_s: float) -> float:
    costs: list[float] = []
    end = time.perf_counter() + budget_s
    while len(costs) < 3 or (len(costs) < 12 and time.perf_counter() < end):
        start = time.perf_counter()
        with _mapped() as block:
            write(block)
            first = time.perf_counter()
            write(block)
            second = time.perf_counter()
            del block
        costs.append(time.perf_counter() - start - 2 * (second - first))
    return max(median(costs), 0.0)


@contextmanager
def _mapped() -> Iterator[torch.Tensor]:
    """Yield memory as the C library gets it from the system; from ``torch.empty`` it may come out of the heap."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        yield torch.empty(_MAPPED_BYTES // 4)
        return
    with mmap.mmap(-1, _MAPPED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        yield torch.frombuffer(pages, dtype=torch.float32)


def _write(block: torch.Tensor) -> None:
    block.fill_(1.0)


def _write_alone(block: torch.Tensor) -> None:
    for piece in block.split(32768):  # PyTorch does not share out less than this among threads
        piece.fill_(1.0)


def keep_heap() -> None:
    """Let the C library keep memory up to 31 MiB: it maps and unmaps larger blocks than it has seen freed."""
    block = torch.empty(31 * _MIB // 4)
    del block
