"""The benchmark tables of the README, from the results that ``benchmarks/`` stored; nothing here measures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import benchmark_estimates

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
MARK, END = "<!-- benchmark-tables -->", "<!-- /benchmark-tables -->"
_FLOP_TOOLS = {
    "trainworthy": "trainworthy, virtual", "trainworthy_recorder": "trainworthy, recording a real step",
    "flop_counter_meta": "torch FlopCounterMode, meta tensors", "flop_counter": "torch FlopCounterMode, real step",
    "fvcore": "fvcore", "calflops": "calflops", "torchinfo": "torchinfo",
}  # fmt: skip
_MEMORY_TOOLS = {
    "virtual": "trainworthy, virtual", "recorder": "trainworthy, recording a real step",
    "mem_tracker_fake": "torch MemTracker, fake tensors", "mem_tracker": "torch MemTracker, real step",
}  # fmt: skip


def read(name: str) -> dict[str, Any]:
    """Read ``benchmarks/results/NAME.json``."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def tables() -> str:
    """Return all tables, between their marks."""
    parts = [_flops(read("flops")), _memory(read("memory")), _speed(read("speed"))]
    if (RESULTS / "cluster.json").exists():
        parts.append(_cluster(read("cluster")))
    parts += [benchmark_estimates.estimates(read, _when), benchmark_estimates.peers(read, _when)]
    parts.append(benchmark_estimates.checks(read, _when))
    return "\n".join([MARK, "\n\n".join(parts), END])


def _flops(result: Mapping[str, Any]) -> str:
    models = len(result["truth"])
    lines = [
        f"**FLOPs** of {models} models against published counts and closed forms ({_when(result, 'flops')}):", "",
        "| tool | forward exact | worst error | whole step exact | failed | seconds for all |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for key, name in _FLOP_TOOLS.items():
        found = result["summary"][key]
        step = f"{found['step_exact']} of {models}" if "step_exact" in found else "not counted"
        lines.append(
            f"| {name} | {found.get('forward_exact', 0)} of {models} | {_percent(found['forward_worst_error_pct'])} | "
            f"{step} | {found['failed']} | {found['seconds']:.0f} |"
        )
    return "\n".join(lines)


def _memory(result: Mapping[str, Any]) -> str:
    cases = len(result["cases"])
    lines = [
        f"**Peak memory** of {cases} trainings on the CPU against PyTorch's profiler ({_when(result, 'memory')}):", "",
        "| tool | within 2 % | median error | worst error |", "|---|---|---|---|",
    ]  # fmt: skip
    for key, name in _MEMORY_TOOLS.items():
        found = result["summary"][key]
        lines.append(
            f"| {name} | {found['within_2_pct']} of {cases} | {_percent(found['median_error_pct'])} | "
            f"{_percent(found['worst_error_pct'])} |"
        )
    return "\n".join(lines)


def _speed(result: Mapping[str, Any]) -> str:
    medians, starts = result["llama"]["medians"], result["start_up"]["medians"]
    large, doubled = medians["126_layers_1_steps"], result["llama"]["doubling"]["126_to_252"]
    rows = [
        ("a step of a Llama-3-405B shape, beyond imports", f"{large['seconds']:.1f} s, "
         f"{large['peak_resident_bytes'] / 2**20:,.0f} MiB resident"),
        ("`trainworthy report` of its saved tape",
         f"{large['report_command_seconds']:.2f} s with Python's start, tape {large['tape_bytes'] / 1000:.0f} kB"),
        ("twice the layers", f"time x {doubled['seconds']:.2f}, tape x {doubled['tape_bytes']:.2f}, "
         f"report x {doubled['report_command_seconds']:.2f}"),
        ("`examples/transformer_lm.py` (GPT-2 124M), beyond imports",
         f"{result['example']['medians']['seconds_beyond_imports']:.1f} s"),
        ("`import trainworthy`, beyond Python", f"{starts['import_trainworthy_beyond_python'] * 1000:.0f} ms"),
        ("`trainworthy --help`, beyond Python", f"{starts['help_beyond_python'] * 1000:.0f} ms"),
    ]  # fmt: skip
    lines = [f"**Speed**, medians ({_when(result, 'speed')}):", "", "| what | measured |", "|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {measured} |" for what, measured in rows)])


def _cluster(result: Mapping[str, Any]) -> str:
    lines = [
        f"**Virtual cluster** ({_when(result, 'cluster')}):", "",
        "| what | seconds | resident | peak a rank | sent a step and rank |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for case in result["cases"]:
        lines.append(
            f"| {case['what']} | {case['seconds']:.1f} | {case['resident_bytes'] / 2**30:.1f} GiB | "
            f"{case['peak_memory_bytes'] / 2**30:.1f} GiB | {case['sent_bytes'] / 2**30:.1f} GiB |"
        )
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "0" if value == 0 else f"{value:.2f} %" if value < 1 else f"{value:,.0f} %"


def _when(result: Mapping[str, Any], name: str) -> str:
    machine, torch = result["machine"], result["versions"]["torch"]
    return f"`python -m benchmarks.{name}`, {result['date'][:10]}, {machine['cores']} cores, torch {torch}"
