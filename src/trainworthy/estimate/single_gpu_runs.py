"""``estimate --runs`` for a table of ordinary models on one GPU (the columns of ``single_gpu.csv``).

A row is predicted without its measured columns; those are read afterwards, to compare.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainworthy.errors import UsageError
from trainworthy.estimate.memory_words import memory_kind
from trainworthy.estimate.run_words import number
from trainworthy.estimate.runs_table import SourceError, read_table, source_error, source_of
from trainworthy.estimate.single_gpu import SingleGpuPrediction, predict_single_gpu_row

__all__ = ["SingleGpuTable", "predict_single_gpu_table"]

MEASURED = ("throughput", "step_time_ms", "tflops", "peak_memory_gb", "status")
PREDICTED = (
    "predicted_step_time_s", "predicted_throughput", "predicted_mfu", "predicted_peak_memory_gb", "predicted_fits",
    "prediction_note",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleGpuTable:
    """What was predicted, and how far it is off where it was measured."""

    rows: int
    predicted: int
    reasons: Mapping[str, int]
    """Why rows have no prediction, with how many."""
    errors: tuple[SourceError, ...]
    """Of throughput, or of step time where only that is stated, by source."""
    memory: SourceError | None


def predict_single_gpu_table(in_csv: Path, out_csv: Path) -> SingleGpuTable:
    """Read a table, write it with the predicted columns added, and compare.

    Raises:
        UsageError: If the table cannot be read or written.
    """
    columns, rows = read_table(in_csv)
    found = [
        predict_single_gpu_row({name: value for name, value in row.items() if name not in MEASURED}) for row in rows
    ]
    fields = [*(name for name in columns if name not in PREDICTED), *PREDICTED]
    try:
        with out_csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=fields, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, **_cells(row, each)} for row, each in zip(rows, found, strict=True))
    except OSError as error:
        raise UsageError(f"Cannot be written: {error.strerror or error}.", where=str(out_csv)) from error
    return _table(rows, found)


def _cells(row: Mapping[str, str], found: SingleGpuPrediction) -> dict[str, str]:
    unit = memory_kind(row.get("memory_kind") or "").unit_bytes
    peak = None if found.peak_memory_bytes is None else found.peak_memory_bytes.expected / unit
    step = None if found.step_time_s is None else found.step_time_s.expected
    numbers = ["" if value is None else f"{value:.5g}" for value in (step, found.throughput, None, peak)]
    return dict(zip(PREDICTED, (*numbers, found.fits or "", found.reason), strict=True))


def _table(rows: list[dict[str, str]], found: list[SingleGpuPrediction]) -> SingleGpuTable:
    ratios: dict[str, list[float]] = {}
    memory: list[float] = []
    reasons: dict[str, int] = {}
    for row, each in zip(rows, found, strict=True):
        if each.step_time_s is None:
            reasons[each.reason] = reasons.get(each.reason, 0) + 1
            continue
        ratio = _ratio(row, each)
        if ratio is not None:
            ratios.setdefault(source_of(row), []).append(ratio)
        measured = number(row.get("peak_memory_gb"))
        if measured and each.peak_memory_bytes is not None:
            unit = memory_kind(row.get("memory_kind") or "").unit_bytes
            memory.append(each.peak_memory_bytes.expected / unit / measured)
    errors = [source_error(name, values) for name, values in ratios.items()]
    return SingleGpuTable(
        rows=len(rows), predicted=sum(each.step_time_s is not None for each in found), reasons=reasons,
        errors=tuple(sorted(errors, key=lambda error: -error.rows)),
        memory=source_error("peak memory", memory) if memory else None,
    )  # fmt: skip


def _ratio(row: Mapping[str, str], found: SingleGpuPrediction) -> float | None:
    """Return predicted / measured time: of the throughput, or of the step."""
    rate, step_ms = number(row.get("throughput")), number(row.get("step_time_ms"))
    if rate and found.throughput:
        return rate / found.throughput
    if step_ms and found.step_time_s is not None:
        return found.step_time_s.expected * 1e3 / step_ms
    return None
