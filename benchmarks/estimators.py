"""Estimates of published runs by trainworthy and by its peers: error of step time and peak memory, and time to answer.

``python -m benchmarks.estimators [--data DIR] [--peers DIR]`` writes ``results/estimators.json``. Every tool is asked
about the same rows of ``published_runs.csv`` (at most ``--rows`` of a source, evenly spaced) through the same
`RunConfig`, which holds nothing that was measured. A tool's error is over the rows that it answers; beside it stands
ours over exactly those rows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, environment, write_result
from benchmarks.estimators_peers import ABOUT, Answer, CannotAnswerError, peers
from benchmarks.memory_published import DATA, completed, read, source_of
from trainworthy.errors import TrainworthyError
from trainworthy.estimate.analytic_memory import estimate_run_memory
from trainworthy.estimate.analytic_time import estimate_run_time
from trainworthy.estimate.flop_conventions import measured_step_s
from trainworthy.estimate.memory_words import memory_kind
from trainworthy.estimate.run_config import RunConfig, run_config_from_row

Case = tuple[Mapping[str, str], RunConfig]


def main() -> None:
    """Ask every tool about every row and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--peers", type=Path, help="folder with source trees calculon/ and llm-analysis/")
    parser.add_argument("--rows", type=int, default=60, help="rows of a source, at most")
    options = parser.parse_args()
    table = options.data / "published_runs.csv"
    if not table.exists():
        print(f"no {table.name} in {options.data}: nothing was measured")
        return
    cases = sample(table, most=options.rows)
    asked = {"trainworthy": ask(ours, cases)}
    for name, tool in peers(options.peers).items():
        asked[name] = ask(tool, cases)
    tools = {name: summary(found, asked["trainworthy"], cases) for name, found in asked.items()}
    tools["torch RuntimeEstimator"] = {"error": runtime_estimator()}
    for name, found in tools.items():
        print(f"  {name}: {found.get('error') or {k: v for k, v in found.items() if k != 'cannot'}}")
    write_result("estimators", rows=len(cases), about=ABOUT, tools=tools)


def sample(table: Path, *, most: int) -> list[Case]:
    """Return readable rows that ran and were measured, evenly spaced within a source."""
    by_source: dict[str, list[Case]] = defaultdict(list)
    for plain in read(table):
        row = completed(plain)
        if row["status"] != "ok":
            continue
        try:
            config = run_config_from_row(row)
        except TrainworthyError:
            continue
        if row.get("peak_memory_gb") or measured_step_s(row, config):
            by_source[source_of(row)].append((row, config))
    out: list[Case] = []
    for rows in by_source.values():
        keep = [row for row in rows if row[0].get("peak_memory_gb")]
        others = [row for row in rows if not row[0].get("peak_memory_gb")]
        step = max(1, -(-len(others) // max(1, most)))
        out.extend([*keep, *others[::step]])
    return out


def ours(config: RunConfig) -> Answer:
    """Answer as trainworthy does; the kind of memory is chosen when it is compared."""
    return Answer(estimate_run_memory(config).device.expected, estimate_run_time(config).step_s.expected)


def ask(tool: Callable[[RunConfig], Answer], cases: list[Case]) -> list[tuple[Answer | str, float]]:
    """Return a tool's answer, or why there is none, and the seconds it took, for each row."""
    out: list[tuple[Answer | str, float]] = []
    for _, config in cases:
        start = time.perf_counter()
        try:
            answer: Answer | str = tool(config)
        except (CannotAnswerError, TrainworthyError) as error:
            answer = str(error).splitlines()[0] if str(error) else type(error).__name__
        out.append((answer, time.perf_counter() - start))
    return out


def summary(
    found: list[tuple[Answer | str, float]], ours_found: list[tuple[Answer | str, float]], cases: list[Case]
) -> dict[str, Any]:
    """Sum up a tool, and trainworthy over the rows that the tool answers."""
    answered = [seconds for answer, seconds in found if isinstance(answer, Answer)]
    reasons: dict[str, int] = defaultdict(int)
    for answer, _ in found:
        if isinstance(answer, str):
            reasons[answer[:120]] += 1
    result: dict[str, Any] = {
        "answered": len(answered), "cannot": dict(sorted(reasons.items(), key=lambda item: -item[1])[:8]),
        "median_ms": 1e3 * statistics.median(answered) if answered else None,
    }  # fmt: skip
    for what, error in (("step_time", _time_error), ("memory", _memory_error)):
        pairs = [
            (theirs, mine)
            for (answer, _), (own, _), case in zip(found, ours_found, cases, strict=True)
            if (theirs := error(answer, case)) is not None and (mine := error(own, case)) is not None
        ]
        result[what] = _errors([theirs for theirs, _ in pairs])
        result[f"{what}_of_trainworthy_on_the_same_rows"] = _errors([mine for _, mine in pairs])
    return result


def _time_error(answer: Answer | str, case: Case) -> float | None:
    row, config = case
    measured = measured_step_s(row, config)
    if isinstance(answer, str) or answer.step_s is None or not measured:
        return None
    return answer.step_s / measured - 1


def _memory_error(answer: Answer | str, case: Case) -> float | None:
    """Peers give one figure; ours is taken of the kind that was measured."""
    row, config = case
    if isinstance(answer, str) or answer.memory_bytes is None or not row.get("peak_memory_gb"):
        return None
    figure, unit = memory_kind(row.get("memory_kind", ""))
    predicted = answer.memory_bytes
    memory = estimate_run_memory(config)
    if predicted == memory.device.expected:
        predicted = memory.figure(figure).expected
    return predicted / unit / float(row["peak_memory_gb"]) - 1


def _errors(errors: list[float]) -> dict[str, float | int] | None:
    if not errors:
        return None
    sizes = sorted(abs(error) for error in errors)
    return {
        "rows": len(errors), "median_abs_pct": round(100 * statistics.median(sizes), 1),
        "p90_abs_pct": round(100 * sizes[max(0, -(-9 * len(sizes) // 10) - 1)], 1),
        "median_pct": round(100 * statistics.median(errors), 1),
    }  # fmt: skip


def runtime_estimator() -> str:
    """Try torch's RuntimeEstimator in a process of its own, where it may crash, and say what came of it."""
    code = "from benchmarks.estimators_peers import runtime_estimator_error as f; print(f() or 'it answers here')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    return lines[-1] if done.returncode == 0 and lines else f"exit code {done.returncode}: it needs a CUDA device"


if __name__ == "__main__":
    main()
