"""What trainworthy says of a GPU against that GPU itself: memory, kernels, autocast, errors, the hardware row.

    python benchmarks/gpu.py                   needs a CUDA device; writes results/gpu_<row>.json
    python benchmarks/gpu.py --measure FILE    needs one too; only asks the GPU and compares nothing
    python benchmarks/gpu.py --measured FILE   compares what is in FILE, anywhere, and writes the result
    python benchmarks/gpu.py --dry-run         all of it without a GPU: the prediction stands in for the measurement

Any Python with torch 2.11 or newer does, with or without trainworthy installed: this checkout is used. Every case is
trained in a process of its own and rehearsed in another that sees no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import fresh, machine, versions, write_result
from benchmarks.gpu_cases import block_differences, case_names

ALLOCATED_TOLERANCE_PCT = 3.0
RESERVED_TOLERANCE_PCT = 5.0
Measured = dict[str, Any]


def no_gpu() -> str | None:
    """Say why nothing can be measured here; None: a GPU is there."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is not a CUDA build"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return None


def row_of(name: str) -> str | None:
    """Return the id of the hardware row of a device by its exact driver name; None: there is no row."""
    from trainworthy.hardware import gpu_rows

    rows: Any = gpu_rows()
    for row in rows.values() if hasattr(rows, "values") else rows:
        if name in row.names:
            return str(row.id)
    return None


def run_virtual(module: str, *args: str, row: str | None) -> Measured:
    """Run the virtual side in a process that sees no GPU."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        return fresh(module, "virtual", *args, *(["--gpu", row] if row else []))
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def measure(cases: Sequence[str]) -> Measured:
    """Ask the GPU alone: its probes and every case, with what it is."""
    probes = fresh("benchmarks.gpu_probes", "real")
    seen = {name: fresh("benchmarks.gpu_cases", "real", name) for name in cases}
    return {
        "device": probes.get("device_properties", {}).get("name", "unknown GPU"), "probes": probes, "cases": seen,
        "driver": _driver(), "machine": machine(), "versions": versions(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    }  # fmt: skip


def compare_case(name: str, row: str | None, *, dry_run: bool = False, seen: Measured | None = None) -> Measured:
    """Train and rehearse one case, and set what was seen beside what was predicted."""
    predicted = run_virtual("benchmarks.gpu_cases", name, row=row)
    if seen is None:
        seen = predicted if dry_run else fresh("benchmarks.gpu_cases", "real", name)
    if "error" in seen or "error" in predicted:
        return {"error": seen.get("error") or predicted.get("error"), "seen": seen, "predicted": predicted}
    allocated = _error_pct(predicted, seen, "max_memory_allocated_bytes")
    reserved = _error_pct(predicted, seen, "max_memory_reserved_bytes")
    tensors = 100 * (predicted["peak_memory_bytes"] / seen["max_memory_allocated_bytes"] - 1)
    return {
        "allocated_error_pct": allocated, "reserved_error_pct": reserved, "tensors_only_error_pct": tensors,
        "good": abs(allocated) <= ALLOCATED_TOLERANCE_PCT and abs(reserved) <= RESERVED_TOLERANCE_PCT,
        "block_differences": block_differences(seen["live_at_peak"], predicted["live_at_peak"]),
        "seen": _without_blocks(seen), "predicted": _without_blocks(predicted),
    }  # fmt: skip


def _error_pct(predicted: Measured, seen: Measured, what: str) -> float:
    return 100 * (float(predicted[what]) / float(seen[what]) - 1)


def _without_blocks(side: Measured) -> Measured:
    return {name: value for name, value in side.items() if name != "live_at_peak"}


def compare_probes(row: str | None, *, dry_run: bool = False, seen: Measured | None = None) -> dict[str, Measured]:
    """Ask every probe on both sides; ``different`` holds (seen, predicted) where they disagree."""
    predicted = run_virtual("benchmarks.gpu_probes", row=row)
    if seen is None:
        seen = predicted if dry_run else fresh("benchmarks.gpu_probes", "real")
    if "error" in seen or "error" in predicted:
        return {"error": {"seen": seen.get("error"), "predicted": predicted.get("error")}}
    out = {}
    for probe, answers in seen.items():
        different = {k: [v, predicted[probe].get(k)] for k, v in answers.items() if predicted[probe].get(k) != v}
        out[probe] = {"asked": len(answers), "same": len(answers) - len(different), "different": different}
    return out


def main() -> int:
    """Compare everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="no GPU: compare the prediction with itself")
    parser.add_argument("--measure", metavar="FILE", help="ask the GPU, write FILE, compare nothing")
    parser.add_argument("--measured", metavar="FILE", help="compare what --measure wrote")
    parser.add_argument("--cases", help="comma-separated (default: all)")
    options = parser.parse_args()
    reason = None if options.dry_run or options.measured else no_gpu()
    if reason is not None:
        print(f"skipped: {reason}")
        return 0
    cases = options.cases.split(",") if options.cases else case_names()
    if options.measure:
        Path(options.measure).write_text(json.dumps(measure(cases)), encoding="utf-8")
        return 0
    given = json.loads(Path(options.measured).read_text(encoding="utf-8")) if options.measured else None
    return _compare_all(cases, given, dry_run=options.dry_run)


def _compare_all(cases: Sequence[str], given: Measured | None, *, dry_run: bool) -> int:
    name = "NVIDIA H200" if dry_run else _device_name() if given is None else given["device"]
    row = row_of(name)
    print(f"{name}: " + (f"row {row}" if row else "no row; memory limit and context are not compared"))
    probes = compare_probes(row, dry_run=dry_run, seen=given and given["probes"])
    for probe, answer in probes.items():
        print(f"  {probe}: {answer.get('same')} of {answer.get('asked')} the same")
    found = {}
    for case in cases:
        found[case] = compare_case(case, row, dry_run=dry_run, seen=given and given["cases"].get(case))
        print(f"  {case}: {found[case].get('error') or _line(found[case])}")
    if not dry_run:
        file_name = row or "".join(c if c.isalnum() else "-" for c in name.lower())
        about = {"driver": _driver()} if given is None else {
            "measured_on": {key: given[key] for key in ("driver", "machine", "versions", "date")}
        }  # fmt: skip
        write_result(f"gpu_{file_name}", device=name, row=row, probes=probes, cases=found, **about)
    return 0 if all(case.get("good") for case in found.values()) else 1


def _line(found: Measured) -> str:
    return (
        f"allocated {found['allocated_error_pct']:+.2f} %, reserved {found['reserved_error_pct']:+.2f} %, "
        f"context seen {found['seen'].get('context_bytes')}, row {found['predicted'].get('context_bytes')}"
    )


def _device_name() -> str:
    answer = fresh("benchmarks.gpu_probes", "real", "--only", "device_properties")
    return str(answer.get("device_properties", {}).get("name", "unknown GPU"))


def _driver() -> dict[str, str]:
    import torch

    return {"torch": str(torch.__version__), "cuda": str(torch.version.cuda), "cudnn": str(_cudnn_version())}


def _cudnn_version() -> object:
    import torch

    return torch.backends.cudnn.version()


if __name__ == "__main__":
    sys.exit(main())
