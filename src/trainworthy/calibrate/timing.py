"""Times a call: the median of repetitions, long enough to be seen by the clock, that nobody interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import torch

try:
    import resource
except ImportError:  # Windows does not count switches
    resource = None  # type: ignore[assignment]

_SHORTEST_BLOCK_S = 60e-6  # of calls that are timed together, so that reading the clock does not matter
_ENOUGH = 3  # undisturbed repetitions
_PATIENCE = 6  # times the budget, for undisturbed repetitions to come
_GPU_BLOCK_S = 2e-3  # of calls between two events, which tick in half a microsecond
_CYCLES_PER_S = 2e9  # of a GPU that waits while the host fills its queue; a slower clock only waits longer


class Timing(NamedTuple):
    """Seconds of a call. ``disturbed``: too few repetitions ran without another process taking a processor."""

    time_s: float
    disturbed: bool


def call_time_s(call: Callable[[], Any], *, device: str = "cpu", budget_s: float = 0.008, repeats: int = 15) -> float:
    """Return the median time of ``call`` after warm-up; on a GPU, of the device alone."""
    call()
    return time_call(call, device=device, budget_s=budget_s, repeats=repeats).time_s


def time_call(
    call: Callable[[], Any], *, device: str = "cpu", budget_s: float = 0.008, repeats: int = 15
) -> Timing:  # fmt: skip
    """Time a call that has run before.

    A thread that is taken off its processor makes the others of a parallel kernel wait for milliseconds, which says
    nothing of the kernel: on a CPU such repetitions are left out. If there are hardly any others, the shortest counts.
    """
    if device != "cpu":
        return Timing(_gpu_time_s(call, repeats=min(repeats, 5)), disturbed=False)
    begin = time.perf_counter()
    call()
    once = max(time.perf_counter() - begin, 1e-7)
    number = max(1, round(_SHORTEST_BLOCK_S / once))
    quiet: list[float] = []
    disturbed: list[float] = []
    while True:
        before = involuntary_switches()
        start = time.perf_counter()
        for _ in range(number):
            call()
        end = time.perf_counter()
        (quiet if involuntary_switches() == before else disturbed).append((end - start) / number)
        spent_s = end - begin
        if len(quiet) >= _ENOUGH and (len(quiet) >= repeats or spent_s > budget_s):
            return Timing(median(quiet), disturbed=False)
        if len(quiet) + len(disturbed) >= _ENOUGH and spent_s > _PATIENCE * budget_s:
            return Timing(min(quiet + disturbed), disturbed=True)


def involuntary_switches() -> int:
    """Return how often threads of this process were taken off a processor so far; 0 where nobody counts."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


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
