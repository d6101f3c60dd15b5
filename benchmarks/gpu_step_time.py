r"""Predicted and measured time and memory of training steps on a GPU, eager and compiled.

    python -m benchmarks.gpu_step_time --measure FILE.json [CASE ...]   on the machine with the GPU: time and memory
    python -m benchmarks.gpu_step_time --compare FILE.json [--calibration CAL.toml] [--write]   anywhere: predict
    python -m benchmarks.gpu_step_time --compare benchmarks/results/gpu_step_time_h200-sxm-141gb.json \
        --calibration benchmarks/results/gpu_calibration_h200-sxm-141gb.toml                    what was measured before

Measured: the median over five blocks of steps that end with a wait, so that host and device run as they do in a loop.
Predicted: from the tape of the same lines on the virtual GPU; by the stated rates of its row alone, and with what
``trainworthy calibrate`` measured on that machine. A measurement travels as a file because the machine with the GPU is
often another one than where the prediction is looked at. All cases are timed before the first is profiled: a process
that ran torch's profiler once launches every later kernel more slowly (its host took 1.35 times as long on an H100).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import machine, versions, write_result

_BLOCKS = 5
_BLOCK_S = 0.4  # hosts of GPUs are virtual machines, whose speed moves within seconds
_WARM = 4
_COMPILED_WARM = 6
_BUSY = 0.9  # of a step: the device, not the host, decides how long it takes
Measured = dict[str, Any]


def main() -> int:
    """Measure, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="default: all")
    parser.add_argument("--measure", metavar="FILE", help="time the cases on this machine's GPU")
    parser.add_argument("--compare", metavar="FILE", help="predict what is in FILE")
    parser.add_argument("--calibration", help="the calibration of the machine that measured")
    parser.add_argument("--budget", type=float, default=400.0, help="seconds after which no further case is begun")
    parser.add_argument("--write", action="store_true", help="write results/gpu_step_time_<row>.json")
    parser.add_argument("--note", help="with --write: what has to be known of the measurement")
    options = parser.parse_args()
    if options.measure:
        return _measure_all(Path(options.measure), options.cases, options.budget)
    if not options.compare:
        parser.error("say --measure FILE or --compare FILE")
    return _compare_all(
        Path(options.compare), options.cases, options.calibration, write=options.write, note=options.note
    )


# --- on the GPU ---------------------------------------------------------------------------------------------------


def _measure_all(path: Path, names: list[str], budget_s: float) -> int:
    import torch

    from benchmarks.gpu_step_time_cases import CASES

    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device")
        return 0
    start = time.perf_counter()
    found: dict[str, Any] = {name: {} for name in names or CASES}
    for work in (_measure, _profile):
        for name, case in found.items():
            if "error" in case or (case and time.perf_counter() - start > budget_s):
                continue
            if time.perf_counter() - start > budget_s:
                case["error"] = "no time left"
                continue
            try:
                case |= work(name)
            except Exception as error:
                case["error"] = f"{type(error).__name__}: {error}"[:400]
            print(name, {k: v for k, v in case.items() if k != "operations"}, flush=True)
            torch.cuda.empty_cache()
            _keep(path, {name: case for name, case in found.items() if case})
    return 0


def _keep(path: Path, cases: dict[str, Any]) -> None:
    import torch

    document = {
        "device": torch.cuda.get_device_name(0), "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(), "machine": machine(), "versions": versions(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), "cases": cases,
    }  # fmt: skip
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _measure(name: str) -> Measured:
    import torch

    from benchmarks.gpu_step_time_cases import CASES

    case = CASES[name]
    torch.manual_seed(0)
    torch._dynamo.reset()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    begin = time.perf_counter()
    step = case.step()
    for _ in range(_COMPILED_WARM if case.compiled else _WARM):
        step()
    torch.cuda.synchronize()
    ready_s = time.perf_counter() - begin
    peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    once = _block_s(step, 3) / 3
    number = max(3, round(_BLOCK_S / once))
    times = [_block_s(step, number) / number for _ in range(_BLOCKS)]
    issued = [_issue_s(step, min(number, 20)) for _ in range(3)]
    return {
        "median_s": statistics.median(times), "low_s": min(times), "high_s": max(times), "steps": number * _BLOCKS,
        "host_s": statistics.median(issued), "max_memory_allocated_bytes": peak, "max_memory_reserved_bytes": reserved,
        "allocated_before_bytes": before, "ready_s": ready_s,
    }  # fmt: skip


def _block_s(step: Any, number: int) -> float:
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(number):
        step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _issue_s(step: Any, number: int) -> float:
    """Return how long the host needs to issue a step, where the device's queue does not hold it up."""
    import torch

    times = []
    for _ in range(min(number, 8)):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    torch.cuda.synchronize()
    return statistics.median(times)


def _profile(name: str) -> dict[str, Any]:
    """Return device seconds of a step by operation and shapes: where to look when a prediction is off."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.gpu_step_time_cases import CASES

    torch.manual_seed(0)
    step = CASES[name].step()
    _block_s(step, _WARM)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=True) as profiler:
        _block_s(step, 2)
    rows = [
        (e.key, str(e.input_shapes)[:160], e.count / 2, e.self_device_time_total / 2e6)
        for e in profiler.key_averages(group_by_input_shape=True)
        if e.self_device_time_total > 0 and e.device_type.name == "CPU"
    ]
    rows.sort(key=lambda row: -row[3])
    return {"device_s": sum(row[3] for row in rows), "operations": rows[:400]}


# --- anywhere -----------------------------------------------------------------------------------------------------


def _compare_all(
    path: Path, names: list[str], calibration_path: str | None, *, write: bool, note: str | None = None
) -> int:
    from benchmarks.gpu_step_time_cases import HELD_OUT
    from trainworthy.hardware import gpu_row

    document = json.loads(path.read_text(encoding="utf-8"))
    about = document.get("measured_on") or {  # a result holds what it was made from
        **{key: document[key] for key in ("device", "torch", "cuda", "cudnn", "date")}, **document["machine"]
    }  # fmt: skip
    about |= {"note": note} if note else {}
    row = gpu_row(about["device"])
    cases: dict[str, Any] = {}
    for name, measured in document["cases"].items():
        if names and name not in names:
            continue
        if "error" in measured:
            print(f"{name:30} not measured: {measured['error']}")
            continue
        cases[name] = found = _compare(name, measured, row.id, calibration_path)
        print(_line(name, found), flush=True)
    busy = {name for name, case in cases.items() if case.get("device_s", 0.0) >= _BUSY * case["median_s"]}
    summary = {
        f"{kind}{suffix}": _summary([case[kind] for name, case in cases.items() if kind in case and name in chosen])
        for suffix, chosen in (("", set(cases)), ("_held_out", HELD_OUT), ("_device_busy", busy))
        for kind in ("stated_error", "calibrated_error", "allocated_error")
    }
    print(json.dumps(summary, indent=1))
    if write:
        write_result(f"gpu_step_time_{row.id}", measured_on=about, summary=summary, cases=cases)
    return 0


def _compare(name: str, measured: Measured, row_id: str, calibration_path: str | None) -> dict[str, Any]:
    from benchmarks.gpu_step_time_cases import CASES
    from trainworthy.estimate.machine import gpu_machine
    from trainworthy.estimate.steps import Setting, run_steps
    from trainworthy.hardware.calibrations import load_calibration
    from trainworthy.inspect import summarize

    tape = _tape(name, row_id)
    mode = "compiled" if CASES[name].compiled else "eager"
    out: dict[str, Any] = {key: value for key, value in measured.items() if key != "operations"}
    calibration = load_calibration(Path(calibration_path)) if calibration_path else None
    for kind, given in (("stated", None), ("calibrated", calibration)):
        if kind == "calibrated" and given is None:
            continue
        times = run_steps({0: tape}, Setting(machine=gpu_machine(row_id, calibration=given), mode=mode))
        out[f"{kind}_s"], out[f"{kind}_device_s"] = times.step_s, times.ranks[0].busy_s
        out[f"{kind}_error"] = times.step_s / measured["median_s"] - 1
    result = summarize(tape)
    if mode == "eager":
        # What was there before a case are cuBLAS's workspaces, which the prediction has too.
        out["allocated_bytes"] = result.max_memory_allocated_bytes
        out["allocated_error"] = result.max_memory_allocated_bytes / measured["max_memory_allocated_bytes"] - 1
    return out


def _tape(name: str, row_id: str) -> Any:
    import torch

    from benchmarks.gpu_step_time_cases import CASES
    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu

    torch.manual_seed(0)
    with VirtualGpu(gpu_row(row_id)) as device:
        step = CASES[name].step()
        for _ in range(3):
            step()
    return device.tape()


def _line(name: str, found: dict[str, Any]) -> str:
    line = f"{name:30} {found['median_s'] * 1e3:8.2f} ms (device {found.get('device_s', 0.0) * 1e3:8.2f})"
    for kind in ("stated", "calibrated"):
        if f"{kind}_s" in found:
            line += f"  {kind} {found[f'{kind}_s'] * 1e3:8.2f} ({found[f'{kind}_error']:+.0%})"
            line += f" device {found[f'{kind}_device_s'] * 1e3:8.2f}"
    if "allocated_error" in found:
        line += f"  memory {found['allocated_error']:+.1%}"
    return line


def _summary(errors: list[float]) -> dict[str, float] | None:
    if not errors:
        return None
    sizes = sorted(abs(error) for error in errors)
    return {
        "cases": len(sizes), "median_error": statistics.median(sizes),
        "ninth_decile_error": sizes[min(len(sizes) - 1, round(0.9 * len(sizes)) - 1)],
        "within_25_percent": sum(size <= 0.25 for size in sizes) / len(sizes),
        "mean_signed_error": statistics.fmean(errors),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
