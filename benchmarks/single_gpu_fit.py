"""Fit the scales of ``estimate/published_rates.toml`` to a small, stated part of the tables: few rows each.

Which rows: of each GPU, and of each implementation at each precision, those whose id has the smallest SHA-256, up to a
number; the comparison never counts them. A scale moves from 1 only as far as its rows ask: the sum of absolute log
errors plus a penalty on the logarithm of each scale is made small, one scale at a time.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trainworthy.estimate.published_rates import GpuScales, workload_names
from trainworthy.estimate.single_gpu import RowParts, row_parts

ROWS_PER_GPU, ROWS_PER_WORKLOAD, ROWS_PER_HOST = 3, 1, 6
TWO_SCALES = ("rtx-3090-24gb",)  # the only one with rows enough to tell arithmetic from memory
# How far a scale is expected to be from 1 (its logarithm), and an error of a row once the scales are right.
_EXPECTED = {"host": 0.7, "workload": 0.35, "precision": 0.15, "gpu": 0.25, "memory": 0.25}
_PRECISIONS = (" amp", " fp32", " tf32", " float16", " bfloat16", " float64")  # a scale of their own beside the model's
_ROW_ERROR = 0.08
_SWEEPS = 12
# Every scale is tried over its whole range: the host decides nothing until it is slower than the device.
_GRID = {
    kind: [round(low + 0.02 * i, 2) for i in range(int((high - low) / 0.02) + 1)]
    for kind, low, high in (("host", -0.7, 2.3), ("workload", -0.7, 1.4), ("gpu", -0.7, 0.7), ("memory", -0.5, 0.5))
}


class Case(NamedTuple):
    """A row with its parts and what was measured, in seconds a step."""

    row: dict[str, str]
    found: RowParts
    measured_s: float


def measured_step_s(row: dict[str, str], found: RowParts) -> float | None:
    """Return the measured seconds a step, from the step time or the throughput."""
    if row["step_time_ms"]:
        return float(row["step_time_ms"]) / 1e3
    try:
        return found.items_per_step / float(row["throughput"])
    except ValueError:
        return None


def cases(rows: Iterable[dict[str, str]]) -> tuple[list[Case], dict[str, str]]:
    """Pair rows with their parts; the others with the reason why they have none."""
    good, bad = [], {}
    for row in rows:
        found = row_parts(row)
        if isinstance(found, str):
            bad[row["id"]] = found
        elif (measured := measured_step_s(row, found)) is not None:
            good.append(Case(row, found, measured))
    return good, bad


def chosen(all_cases: list[Case]) -> list[Case]:
    """Choose the rows that scales are fitted to."""
    by_hash = sorted(all_cases, key=lambda c: hashlib.sha256(c.row["id"].encode()).hexdigest())
    taken: dict[str, Case] = {}
    keys: tuple[tuple[Callable[[Case], Any], int], ...] = (
        (lambda c: c.found.workload, ROWS_PER_WORKLOAD),
        (lambda c: c.found.gpu, ROWS_PER_GPU),
        (lambda c: c.found.host if c.found.host.startswith("torchvision") else None, ROWS_PER_HOST),
    )
    for key, number in keys:
        counts: dict[Any, int] = defaultdict(int)
        for case in taken.values():
            counts[key(case)] += 1
        for case in by_hash:
            if key(case) is not None and counts[key(case)] < number and case.row["id"] not in taken:
                taken[case.row["id"]] = case
                counts[key(case)] += 1
    return list(taken.values())


class Scales(NamedTuple):
    """Logarithms of all scales by name; a name that is missing is 0."""

    gpu: dict[str, float]
    memory: dict[str, float]
    host: dict[str, float]
    workload: dict[str, float]


def step_s(case: Case, scales: Scales) -> float:
    """Return the predicted seconds a step."""
    found = case.found
    speed = scales.gpu.get(found.gpu, 0.0)
    gpu = GpuScales(math.exp(speed), math.exp(speed + scales.memory.get(found.gpu, 0.0)))
    return found.parts.step_s(
        scales=gpu, host_scale=math.exp(scales.host.get(found.host, 0.0)),
        factor=math.exp(sum(scales.workload.get(name, 0.0) for name in workload_names(found.workload))),
    )  # fmt: skip


def fit(subset: list[Case], *, known: Scales | None = None) -> Scales:
    """Fit all scales to the rows of the subset; those that are known stay."""
    scales = Scales(*(dict(values) for values in known)) if known else Scales({}, {}, {}, {})
    users: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in subset:
        users["host", case.found.host].append(case)
        for name in workload_names(case.found.workload):
            users["workload", name].append(case)
        if not known or case.found.gpu not in known.gpu:
            users["gpu", case.found.gpu].append(case)
        if not known and case.found.gpu in TWO_SCALES:
            users["memory", case.found.gpu].append(case)
    users = dict(sorted(users.items(), key=lambda item: [*_EXPECTED].index(item[0][0])))
    for _ in range(_SWEEPS):
        for (kind, name), rows in users.items():
            values = getattr(scales, kind)

            def cost(
                value: float, rows: list[Case] = rows, values: Any = values, name: str = name, kind: str = kind
            ) -> float:
                values[name] = value
                errors = sum(_loss(math.log(step_s(case, scales) / case.measured_s)) for case in rows)
                return (
                    errors + (value / (_EXPECTED["precision"] if name.endswith(_PRECISIONS) else _EXPECTED[kind])) ** 2
                )

            values[name] = min(_GRID[kind], key=cost)
    return scales


def _loss(error: float) -> float:
    """Return the loss of a log error: a parabola, and straight lines beyond twice what is expected (Huber)."""
    size = abs(error) / _ROW_ERROR
    return size**2 if size < 2 else 4 * size - 4


def toml_text(scales: Scales, subset: list[Case], *, date: str) -> str:
    """Write the scales as the package reads them."""
    lines = [
        "# Written by `python -m benchmarks.single_gpu --fit`; benchmarks/single_gpu_fit.py says how rows are chosen.",
        f"# Fitted on {date}. The ids are those of the table of published one-GPU measurements (single_gpu.csv).",
    ]
    for name in sorted(scales.gpu):
        rows = [c.row["id"] for c in subset if c.found.gpu == name]
        lines += ["", f'[gpu."{name}"]', f"compute_scale = {math.exp(scales.gpu[name]):.3f}",
                  f"memory_scale = {math.exp(scales.gpu[name] + scales.memory.get(name, 0.0)):.3f}",
                  _rows(rows)]  # fmt: skip
    for kind, key in (("host", lambda c: (c.found.host,)), ("workload", lambda c: workload_names(c.found.workload))):
        values: dict[str, float] = getattr(scales, kind)
        for name in sorted(values):
            rows = [c.row["id"] for c in subset if name in key(c)]
            lines += ["", f'[{kind}."{name}"]', f"time_scale = {math.exp(values[name]):.3f}", _rows(rows)]
    return "\n".join(lines) + "\n"


def _rows(ids: list[str]) -> str:
    return "rows = [" + ", ".join(f'"{i}"' for i in sorted(ids)) + "]"
