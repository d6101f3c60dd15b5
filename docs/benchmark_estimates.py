"""The README's tables about estimates and checks, from the results that ``benchmarks/`` stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Read = Callable[[str], dict[str, Any]]
When = Callable[[Mapping[str, Any], str], str]


def estimates(read: Read, when: When) -> str:
    """Return the errors of time and memory against what others measured."""
    runs, memory, single = read("published_runs"), read("memory_published"), read("single_gpu")
    gpus = [row for card, name in _CARDS.items() for row in _gpu_step(read(f"gpu_step_time_{card}"), name)]
    rows = [*_runs(runs), *_memory(memory), *_single(single), *gpus, *_step(read("step_time"))]
    lines = [
        "**Estimates** against published measurements, and against steps on this machine "
        f"({when(runs, 'published_runs')}, "
        "`memory_published`, `single_gpu`, `step_time`; [runs](docs/published-runs.md), "
        "[memory](docs/published-memory.md), [one GPU](docs/single-gpu.md), [real GPUs](docs/measured-gpu.md), "
        "[this machine](docs/calibrate.md)):", "",
        "| what | cases | median error | 9 in 10 within |", "|---|---|---|---|",
    ]  # fmt: skip
    return "\n".join(
        [*lines, *(f"| {what} | {cases:,} | {_pct(half)} | {_pct(most)} |" for what, cases, half, most in rows)]
    )


_Row = tuple[str, int, float, float]


def _runs(result: Mapping[str, Any]) -> list[_Row]:
    cases = result["rows"]["stated_with_time"]
    names = {
        "shipped": "step time of training runs, 1 to 4,000 GPUs; sources weigh the same",
        "left_out": "the same, constants fitted without the source that is predicted",
        "null": "FLOPs / peak x one constant x bubble, fitted in the same way",
    }
    return [
        (what, cases, 100 * result[key]["weighted_median"], 100 * result[key]["weighted_p90"])
        for key, what in names.items()
    ]


def _memory(result: Mapping[str, Any]) -> list[_Row]:
    found = {"peak memory, sharded": result["sharded"]["all"], "peak memory, one GPU": result["one_gpu"]["all"]}
    return [(what, f["rows"], f["median_abs_pct"], f["p90_abs_pct"]) for what, f in found.items()]


def _single(result: Mapping[str, Any]) -> list[_Row]:
    rows = []
    for task, what in (("train", "training"), ("infer", "inference")):
        found = result["timm"][task]
        rows += [
            (f"throughput of timm models, RTX 3090, {what}, {how}", found["sample"], f["median_pct"], f["p90_pct"])
            for how, f in (
                ("not calibrated", found["uncalibrated"]),
                ("10 models for calibration", found["calibrated"]),
            )
        ]
    table = result["table"]
    return [
        *rows,
        ("throughput of ordinary models, 25 GPUs, few rows of each for calibration", table["calibrated"]["rows"],
         table["calibrated"]["median_pct"], table["calibrated"]["p90_pct"]),
    ]  # fmt: skip


_CARDS = {"h100-sxm-80gb": "H100", "h200-sxm-141gb": "H200"}


def _gpu_step(result: Mapping[str, Any], card: str) -> list[_Row]:
    found = result["summary"]["calibrated_error"]
    what = f"step time on an {card} after `trainworthy calibrate` there, eager and compiled"
    return [(what, found["cases"], 100 * found["median_error"], 100 * found["ninth_decile_error"])]


def _step(result: Mapping[str, Any]) -> list[_Row]:
    found = result["summary"]
    what = "step time on this CPU after `trainworthy calibrate`"
    return [(what, found["cases"], 100 * found["median_error"], 100 * found["ninth_decile_error"])]


def peers(read: Read, when: When) -> str:
    """Return other estimators beside ours on the rows that they can answer."""
    result = read("estimators")
    lines = [
        "**Other estimators**, each beside ours on the rows that it answers; ours was fitted to rows of these "
        f"sources, theirs were not ({when(result, 'estimators')}):", "",
        "| tool | rows | step time: its error, ours | rows | memory: its error, ours |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for tool, found in result["tools"].items():
        if tool != "trainworthy" and "error" not in found and (found["step_time"] or found["memory"]):
            cells = [cell for what in ("step_time", "memory") for cell in _beside(found, what)]
            lines.append(f"| {tool} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _beside(found: Mapping[str, Any], what: str) -> tuple[str, str]:
    theirs, ours = found[what], found[f"{what}_of_trainworthy_on_the_same_rows"]
    if not theirs:
        return "0", "no answer"
    return str(theirs["rows"]), f"{_pct(theirs['median_abs_pct'])}, {_pct(ours['median_abs_pct'])}"


def checks(read: Read, when: When) -> str:
    """Return what ``check`` found in public code, how fast it is, and what the guard costs."""
    found, speed, guard, on_gpu = read("ecosystem"), read("static_check"), read("guard"), read("guard_gpu")
    verdicts = [finding["verdict"] for finding in found["findings"]]
    size = sum(row["lines"] for row in found["repositories"])
    rows = [
        (f"`check` on {len(found['repositories'])} public projects, {size:,} lines",
         f"{len(verdicts)} findings, {sum(v == 'false' for v in verdicts)} of them false by our reading, "
         "after the rules were mended where they were wrong ([each](docs/ecosystem.md))"),
        *(_speed(row) for row in speed["folders"]),
        _other_checkers(read("check_peers")["tables"]),
        ("a step while `guard` looks: MLP, CNN, GPT", _ratios(guard["looking"])),
        (f"the same on an {on_gpu['device']}, wall time: the MLP (its step takes "
         f"{on_gpu['models']['mlp']['plain_ms']:.1f} ms), ResNet-50, GPT-2 124M", _ratios(on_gpu["models"])),
        ("the same on two ranks, wall time: the MLP, and one of 1,024 units", _ratios(guard["ranks"])),
        ("a step after `guard` has removed itself", "; ".join(_left(*each) for each in guard["after"].items())),
    ]  # fmt: skip
    lines = [
        f"**Checks** ({when(speed, 'static_check')}, `ecosystem`, `guard`, `guard_gpu`):",
        "",
        "| what | measured |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| {what} | {measured} |" for what, measured in rows)])


def _ratios(models: Mapping[str, Any]) -> str:
    return ", ".join(f"{model['looking_ratio']:.2f}x" for model in models.values())


def _left(name: str, after: Mapping[str, Any]) -> str:
    low, high = after["interval_95_percent"]
    return (f"{name.upper()} {after['slower_percent']:+.2f} % (95 %: {low:+.2f} to {high:+.2f}, "
            f"{after['pairs']} pairs of processes)")  # fmt: skip


def _other_checkers(tables: Mapping[str, Any]) -> tuple[str, str]:
    """Return what each tool names of our own bugs that a run shows, and how many right programs it reports."""
    tools = {
        "trainworthy": "trainworthy", "torchfix": "TorchFix", "torch-audit": "torch-audit", "trainproof": "trainproof",
    }  # fmt: skip
    shares = []
    for key, name in tools.items():
        if key not in tables["catalogue"]:  # left out of this run
            continue
        bugs = [tables[corpus][key] for corpus in ("catalogue", "traincheck")]
        right = [*bugs, tables["live"][key], tables["public"][key]]
        shares.append(
            f"{name} {sum(len(one['named']) for one in bugs)} of {sum(one['bugs'] for one in bugs)}, "
            f"{sum(len(one['disturbed']) for one in right)} of {sum(one['right'] for one in right)}"
        )
    what = "bugs written by us that are named, right programs of which something is said ([tables](docs/peers.md))"
    return what, "; ".join(shares)


def _speed(row: Mapping[str, Any]) -> tuple[str, str]:
    what = f"`check` of {row['folder'].replace('+', '/')}, {row['lines']:,} lines"
    measured = f"{row['trainworthy_s']:.1f} s, {row['trainworthy_lines_per_s']:,} lines a second"
    if "torchfix_s" in row:
        measured += f"; TorchFix {row['torchfix_s']:.0f} s"
    return what, measured


def _pct(value: float) -> str:
    return f"{value:.1f} %" if value < 100 else f"{value:,.0f} %"
