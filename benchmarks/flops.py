"""FLOPs of 24 models as trainworthy and its peers count them, against published figures and closed forms.

``python -m benchmarks.flops`` writes ``results/flops.json``. Each tool counts all models in a process of its own; peak
memory is measured on a few models in a process for each tool and model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from benchmarks.common import fresh, leave, peak_resident_bytes, write_result
from benchmarks.flops_tools import TOOLS

MEASURED_APART = ("resnet50", "vit_b_16", "gpt2_124m", "llama_gqa")
TOOL_NOTES = {
    "trainworthy": "virtual GPU: forward and backward of shapes, nothing computed",
    "trainworthy_recorder": "the recorder around a real forward and backward pass on the CPU",
    "torchinfo": "summary().total_mult_adds x 2; runs the forward pass",
    "fvcore": "FlopCountAnalysis x 2, dot products only (own_total: all of its total x 2); traces the forward pass",
    "calflops": "MACs x 2 (own_total: its FLOPs); runs the forward pass, takes the backward pass to be twice that",
    "flop_counter": "torch FlopCounterMode around a real forward and backward pass on the CPU",
    "flop_counter_meta": "torch FlopCounterMode on meta tensors, nothing computed",
}


def count_all(tool: str, names: list[str]) -> dict[str, Any]:
    """Count models with one tool in this process, until one fails."""
    from benchmarks.flops_models import models

    found: dict[str, Any] = {}
    known = {model.name: model for model in models()}
    baseline = peak_resident_bytes()
    for name in names:
        start = time.perf_counter()
        try:
            counted = TOOLS[tool](known[name])
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            break  # some leave torch patched: the rest is counted in a new process
        seconds, truth = time.perf_counter() - start, known[name].truth
        found[name] = {
            **counted._asdict(), "seconds": seconds, "beyond_imports_bytes": peak_resident_bytes() - baseline,
            "forward_error_pct": _error_pct(counted.forward, 2 * truth.forward),
            "step_error_pct": _error_pct(counted.step, 2 * truth.step),
        }  # fmt: skip
    return found


def _error_pct(counted: int | None, truth: int) -> float | None:
    return None if counted is None else 100 * (counted / truth - 1)


def compare() -> dict[str, dict[str, Any]]:
    """Count every model with every tool; a failure ends a process, not the comparison."""
    from benchmarks.flops_models import models

    names = [model.name for model in models()]
    found: dict[str, dict[str, Any]] = {}
    for tool in TOOLS:
        found[tool] = {}
        while left := [name for name in names if name not in found[tool]]:
            answer = fresh("benchmarks.flops", "--tool", tool, "--models", ",".join(left), timeout_s=3600)
            found[tool] |= {left[0]: answer} if "error" in answer else answer
        print(f"  {tool}: {summary(found[tool])}")
    return found


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Sum up one tool: exact counts, typical and worst error, failures, seconds for all models it counted."""
    good = [each for each in found.values() if "error" not in each]
    out: dict[str, Any] = {"models": len(found), "failed": len(found) - len(good)}
    for what in ("forward", "step"):
        errors = [abs(each[f"{what}_error_pct"]) for each in good if each[f"{what}_error_pct"] is not None]
        if errors:
            out |= {
                f"{what}_exact": sum(error == 0 for error in errors),
                f"{what}_median_error_pct": statistics.median(errors), f"{what}_worst_error_pct": max(errors),
            }  # fmt: skip
    return out | {"seconds": sum(each["seconds"] for each in good)}


def main() -> None:
    """Compare all, or count with one tool in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tool", choices=TOOLS, help="count with this tool here and print")
    parser.add_argument("--models", default="resnet50", help="comma-separated, with --tool")
    options = parser.parse_args()
    if options.tool:
        leave(count_all(options.tool, options.models.split(",")))
        return
    from benchmarks.flops_models import models

    truth = {
        m.name: {"forward_flops": 2 * m.truth.forward, "step_flops": 2 * m.truth.step, "source": m.source}
        for m in models()
    }
    found = compare()
    apart = {
        tool: {n: fresh("benchmarks.flops", "--tool", tool, "--models", n).get(n, {}) for n in MEASURED_APART}
        for tool in TOOLS
    }
    write_result(
        "flops", tools=TOOL_NOTES, truth=truth, counted=found, measured_apart=apart,
        summary={tool: summary(each) for tool, each in found.items()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
