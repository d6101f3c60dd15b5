"""Peak memory of twelve trainings on the CPU: the profiler's truth, ours, and torch's MemTracker.

``python -m benchmarks.memory`` writes ``results/memory.json``; each case runs in a process of its own. The truth is the
allocations of two real training steps as ``torch.profiler`` reports them, without the workspace that one operation
takes and gives back. What a recurrent kernel keeps for its own backward pass has no published size: it is left out on
both sides where nothing is computed (``virtual``, ``mem_tracker_fake``), and counted where the kernel runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.common import fresh, leave, write_result

TOOLS = ("recorder", "virtual", "mem_tracker", "mem_tracker_fake")
_COMPUTES_NOTHING = frozenset({"virtual", "mem_tracker_fake"})
TOOL_NOTES = {
    "recorder": "trainworthy, recorded while the same real steps ran",
    "virtual": "trainworthy, the virtual device set to imitate the CPU; nothing was computed",
    "mem_tracker": "torch.distributed._tools.MemTracker around the same real steps",
    "mem_tracker_fake": "MemTracker under FakeTensorMode; nothing was computed",
}


def measure(name: str) -> dict[str, Any]:
    """Measure one case with every tool."""
    from truth.cases import live_tape, training, virtual_tape, without_workspace
    from truth.profiled import profiled_peak

    run = training(name)
    run()  # what torch loads late is loaded
    truth, truth_seconds = _timed(lambda: profiled_peak(run))
    live = live_tape(run)
    notes_bytes = live.memory().peak_bytes - without_workspace(live).memory().peak_bytes
    answer: dict[str, Any] = {
        "truth_bytes": truth.peak_bytes, "truth_with_workspace_bytes": truth.peak_with_workspace_bytes,
        "truth_without_kernel_notes_bytes": truth.peak_bytes - notes_bytes,
        "truth_seconds": truth_seconds, "plain_seconds": _timed(run)[1],
    }  # fmt: skip
    counters: dict[str, Callable[[], int]] = {
        "recorder": lambda: live_tape(run).memory().peak_bytes,
        "virtual": lambda: virtual_tape(run, imitate_cpu=True).memory("cpu").peak_bytes,
        "mem_tracker": lambda: tracked_peak(name),
        "mem_tracker_fake": lambda: tracked_peak(name, fake=True),
    }
    for tool, count in counters.items():
        try:
            peak, seconds = _timed(count)
        except Exception as error:
            answer[tool] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            continue
        known = truth.peak_bytes - (notes_bytes if tool in _COMPUTES_NOTHING else 0)
        error_pct = 100 * (peak / known - 1)
        answer[tool] = {"peak_bytes": peak, "error_pct": error_pct, "seconds": seconds}
    return answer


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    out = run()
    return out, time.perf_counter() - start


def tracked_peak(name: str, *, fake: bool = False) -> int:
    """Train a case for two steps under MemTracker and return the highest total it saw.

    The model and the optimizer are handed over as its manual says, and its per-module figures are reset between the
    steps, as it demands. Fake modules cannot be moved, not even to where they are: the cases' ``.to`` is left out.
    """
    from contextlib import ExitStack
    from unittest.mock import patch

    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    from zoo.small import CASES, train_step

    torch.manual_seed(0)
    with ExitStack() as stack:
        if fake:
            stack.enter_context(patch.object(torch.nn.Module, "to", lambda module, *_args: module))
            stack.enter_context(FakeTensorMode())
        case = CASES[name]("cpu")
        optimizer = case.make_optimizer(case.model.parameters())
        tracker = MemTracker()
        tracker.track_external(case.model, optimizer)
        with tracker:
            for _ in range(2):
                train_step(case, optimizer)
                tracker.reset_mod_stats()
        peak = tracker.get_tracker_snapshot("peak")
    return int(next(sizes["Total"] for device, sizes in peak.items() if device.type == "cpu"))


def summary(cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, float | int]]:
    """Sum up each tool over the cases: absolute errors and how often it failed."""
    out: dict[str, dict[str, float | int]] = {}
    for tool in TOOLS:
        found = [case[tool] for case in cases.values() if tool in case]
        errors = [abs(each["error_pct"]) for each in found if "error" not in each]
        out[tool] = {"failed": len(found) - len(errors)}
        if errors:
            out[tool] |= {
                "mean_error_pct": statistics.mean(errors), "median_error_pct": statistics.median(errors),
                "worst_error_pct": max(errors), "within_2_pct": sum(e <= 2 for e in errors),
            }  # fmt: skip
    return out


def main() -> None:
    """Measure every case, or one case in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", help="measure this case here and print it")
    case = parser.parse_args().case
    if case:
        leave(measure(case))
        return
    from zoo.small import CASES

    cases = {}
    for name in CASES:
        cases[name] = fresh("benchmarks.memory", "--case", name)
        shown = {t: round(cases[name].get(t, {}).get("error_pct", float("nan")), 2) for t in TOOLS}
        print(f"  {name}: {cases[name].get('error') or shown}")
    write_result("memory", tools=TOOL_NOTES, cases=cases, summary=summary(cases))


if __name__ == "__main__":
    main()
