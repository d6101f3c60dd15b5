"""Times a call: the median of repetitions, long enough to be seen by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

_SHORTEST_BLOCK_S = 60e-6  # of calls that are timed together, so that reading the clock does not matter
_GPU_BLOCK_S = 2e-3  # of calls between two events, which tick in half a microsecond
_CYCLES_PER_S = 2e9  # of a GPU that waits while the host fills its queue; a slower clock only waits longer


def call_time_s(call: Callable[[], Any], *, device: str = "cpu", budget_s: float = 0.012, repeats: int = 15) -> float:
    """Return the median time of ``call`` after warm-up; on a GPU, of the device alone."""
    if device != "cpu":
        return _gpu_time_s(call, repeats=min(repeats, 5))
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    number = max(1, round(_SHORTEST_BLOCK_S / once))
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < 3 or (len(times) < repeats and time.perf_counter() < end):
        start = time.perf_counter()
        for _ in range(number):
            call()
        times.append((time.perf_counter() - start) / number)
    return median(times)


def _gpu_time_s(call: Callable[[], Any], *, repeats: int) -> float:
    """Time launches that already wait in the stream's queue: what the host needs does not count."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    issued_s = time.perf_counter() - start
    torch.cuda.synchronize()
    number = max(1, min(10, round(_GPU_BLOCK_S / (time.perf_counter() - start))))
    wait_cycles = int(_CYCLES_PER_S * (1.5 * number * issued_s + 5e-5))
    times: list[float] = []
    for _ in range(repeats):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(wait_cycles)
        first.record()
        for _ in range(number):
            call()
        last.record()
        last.synchronize()
        times.append(float(first.elapsed_time(last)) / 1e3 / number)
    return median(times)
