"""Predicted and measured time of training steps on this machine's CPU.

    python -m benchmarks.step_time                # calibrate, then all cases; writes results/step_time.json
    python -m benchmarks.step_time gpt-2 lstm-6   # only these; writes nothing

Machines drift, so calibration and measurement belong to one run, and all cases are gone through five times: on a
virtual machine the same product takes 14 % more or less from one second to the next (standard deviation), and what it
took two seconds ago says little of it. Every case runs in a process of its own each time: predicted from the tape that
``trainworthy.record`` makes of three steps, measured as the median step without any recording; of the medians the
middle one counts.

Two things are shown apart from that error, and neither knows how long a step took. Steps during which another process
took a processor from one of ours are left out (``quiet``). And the two kernels whose pace the calibration followed are
timed before and after each case: what they say of the machine's speed since then is taken into the prediction
(``at_pace``), so that the machine's drift is told from the model's error.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import write_result

_SECONDS = 1.3  # of measured steps, at least 8 of them
_PASSES = 5
_WARM = 4
_FEWEST_QUIET = 4


def main() -> int:
    """Calibrate, run the cases, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="default: all")
    parser.add_argument("--calibration", help="use this file instead of calibrating")
    parser.add_argument("--passes", type=int, default=_PASSES, help="over all cases (default: 5)")
    options = parser.parse_args()
    import torch  # noqa: F401  # once, before processes are forked; nothing is run here

    from benchmarks.step_time_cases import CASES

    names = options.cases or list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        path = options.calibration or str(Path(folder) / "calibration.toml")
        if not options.calibration:
            start = time.perf_counter()
            _in_child(_calibrate, path)
            calibrated_s = time.perf_counter() - start
            print(f"calibrated in {calibrated_s:.0f} s")
        passes = [
            [_in_child(_measure, name, _tape_path(folder, name, n)) for name in names] for n in range(options.passes)
        ]
        middle = [
            sorted(each, key=lambda m: float(m["median_s"]))[options.passes // 2] for each in zip(*passes, strict=True)
        ]
        spread = [[found["median_s"] for found in each] for each in zip(*passes, strict=True)]
        tapes = [_tape_path(folder, name, 0) for name in names]
        results = [_case(*each, path) for each in zip(names, middle, spread, tapes, strict=True)]
        calibration = {**_describe(path), "took_s": None if options.calibration else calibrated_s}
    summary = _summary(results)
    _print(summary)
    if not options.cases:
        write_result("step_time", summary=summary, calibration=calibration, cases=results)
    return 0


def _tape_path(folder: str, name: str, number: int) -> str:
    return str(Path(folder) / f"{name}.{number}.twt")


def _case(
    name: str, measured: dict[str, Any], medians: list[float], tape_path: str, calibration_path: str
) -> dict[str, Any]:
    from trainworthy import load_tape
    from trainworthy.estimate.machine import cpu_machine
    from trainworthy.estimate.tape_times import step_time_s
    from trainworthy.hardware.calibrations import load_calibration

    calibration = _CACHE.setdefault(calibration_path, load_calibration(Path(calibration_path)))
    machine = _CACHE.setdefault("machine", cpu_machine(calibration=calibration))
    tape = load_tape(tape_path)
    predicted = step_time_s(tape, machine=machine)
    error = predicted / measured["median_s"] - 1
    line = f"{name:20} {measured['median_s'] * 1e3:9.2f} ms  {predicted * 1e3:9.2f} ms  {error:+7.1%}"
    print(f"{line}   medians {min(medians) * 1e3:.2f} to {max(medians) * 1e3:.2f} ms", flush=True)
    found = {"case": name, **measured, "medians_s": medians, "predicted_s": predicted, "error": error}
    slower = _slowness(tape, machine, measured["pace_s"])
    if measured["quiet_median_s"] is not None:
        found["quiet_error"] = predicted / measured["quiet_median_s"] - 1
        found["at_pace_error"] = predicted * slower / measured["quiet_median_s"] - 1
    return {**found, "slowness": slower}


def _slowness(tape: Any, machine: Any, pace_s: tuple[float, float]) -> float:
    """Return how much slower than in the calibration the machine was, for the arithmetic and traffic of this step."""
    from trainworthy.calibrate.anchors import Pace, slowness
    from trainworthy.estimate.tape_times import step_op_times

    usual = machine.calibration.pace_s
    times = [op.time for op in step_op_times(tape, machine=machine)]
    memory_s = sum(t.memory_s for t in times if t.memory_s >= t.compute_s) + sum(t.stall_s for t in times)
    compute_s = sum(t.compute_s for t in times if t.compute_s > t.memory_s)
    fixed_s = sum(t.latency_s + t.host_s for t in times)
    return slowness(Pace(0.0, pace_s[0] / usual[0], pace_s[1] / usual[1]), (compute_s, memory_s, fixed_s))


_CACHE: dict[str, Any] = {}


def _measure(name: str, tape_path: str) -> dict[str, Any]:
    import torch

    import trainworthy
    from benchmarks.step_time_cases import CASES
    from trainworthy.calibrate.anchors import Anchors
    from trainworthy.calibrate.timing import involuntary_switches

    torch.manual_seed(0)
    anchors = Anchors(device="cpu")
    step = CASES[name]()
    for _ in range(_WARM):
        step()
    paces = [anchors.pace(0.0)]
    times: list[float] = []
    quiet: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < 8 or (time.perf_counter() < end and len(times) < 400):
        switches, start = involuntary_switches(), time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
        if involuntary_switches() == switches:
            quiet.append(times[-1])
    paces.append(anchors.pace(0.0))
    with trainworthy.record() as tape:
        for _ in range(3):
            step()
    tape.tape.save(tape_path)
    low, middle, high = statistics.quantiles(times, n=4)
    return {
        "median_s": middle, "low_s": low, "high_s": high, "steps": len(times), "quiet_steps": len(quiet),
        "quiet_median_s": statistics.median(quiet) if len(quiet) >= _FEWEST_QUIET else None,
        "pace_s": tuple(statistics.fmean(values) for values in zip(*(p[1:] for p in paces), strict=True)),
    }  # fmt: skip


def _calibrate(path: str) -> None:
    from trainworthy.calibrate.run import calibrate
    from trainworthy.hardware.calibrations import dump_calibration

    Path(path).write_text(dump_calibration(calibrate(device="cpu")), encoding="utf-8")


def _in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` in a forked process: its heap and caches are as a script's would be."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        sender.send(function(*arguments))
        sender.close()
        os._exit(0)

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise SystemExit(f"the process of {arguments} failed") from None
    finally:
        process.join()


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    slower = [result["slowness"] for result in results]
    return {
        **_errors([result["error"] for result in results]),
        "quiet": _errors([result["quiet_error"] for result in results if "quiet_error" in result]),
        "at_pace": _errors([result["at_pace_error"] for result in results if "at_pace_error" in result]),
        "slowness": {"least": min(slower), "median": statistics.median(slower), "most": max(slower)},
    }


def _errors(errors: list[float]) -> dict[str, Any]:
    if not errors:
        return {"cases": 0}
    sizes = sorted(map(abs, errors))
    return {
        "cases": len(sizes), "median_error": statistics.median(sizes),
        "ninth_decile_error": sizes[max(min(len(sizes) - 1, round(0.9 * len(sizes)) - 1), 0)],
        "within_25_percent": sum(size <= 0.25 for size in sizes) / len(sizes),
        "mean_signed_error": statistics.fmean(errors),
    }  # fmt: skip


def _describe(path: str) -> dict[str, Any]:
    from trainworthy.hardware.calibrations import load_calibration

    c = load_calibration(Path(path))
    return {
        "device_name": c.device_name, "date": c.date, "torch": c.torch_version, "threads": c.threads,
        "notes": c.notes, "pace_drift": c.pace_drift, "pace_s": c.pace_s,
        "peaks_tflops": dict(c.peaks_tflops), "samples": sum(len(curve.samples) for curve in c.curves.values()),
    }  # fmt: skip


def _print(summary: dict[str, Any]) -> None:
    for title, figures in (
        ("all steps", summary), ("steps that nobody interrupted", summary["quiet"]),
        ("these, at the machine's pace", summary["at_pace"]),
    ):  # fmt: skip
        if figures["cases"]:
            print(
                f"{title}: {figures['cases']} cases, median error {figures['median_error']:.1%}, nine in ten within "
                f"{figures['ninth_decile_error']:.1%}, {figures['within_25_percent']:.0%} within 25 %, mean "
                f"{figures['mean_signed_error']:+.1%}"
            )
    slower = summary["slowness"]
    print(
        f"the machine took {slower['least']:.2f} to {slower['most']:.2f} times (median {slower['median']:.2f}) what it "
        "took in the calibration"
    )


if __name__ == "__main__":
    sys.exit(main())
