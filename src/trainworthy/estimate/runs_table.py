"""``estimate --runs``: predictions for a table of training runs, and their error where the table was measured.

The configuration of a row is built from the row without its measured columns; those are read only afterwards, to
compare. A row that cannot be predicted keeps its place, with empty predictions and the reason.
"""

from __future__ import annotations

import csv
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trainworthy.errors import TrainworthyError, UsageError
from trainworthy.estimate.analytic_memory import estimate_run_memory
from trainworthy.estimate.analytic_time import estimate_run_time
from trainworthy.estimate.flop_conventions import measured_step_s, predicted_mfu
from trainworthy.estimate.memory_words import memory_kind
from trainworthy.estimate.run_config import (
    LAYOUT_COLUMNS,
    MEASURED_COLUMNS,
    MODEL_COLUMNS,
    RunConfig,
    run_config_from_row,
    states_layout,
)
from trainworthy.estimate.run_words import number

PREDICTED_COLUMNS = (
    "predicted_step_time_s", "predicted_mfu", "predicted_peak_memory_gb", "predicted_fits", "prediction_note",
)  # fmt: skip
Group = Literal["stated", "assumed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPrediction:
    """One row: what it is predicted to take, and what was measured."""

    id: str
    source: str
    group: Group | None
    """``stated``: all required columns are there; ``assumed``: one was assumed or known by the model's name; None: no
    prediction."""
    config: RunConfig | None
    step_s: float | None
    mfu: float | None
    peak_memory_gb: float | None
    """In the unit and of the kind that ``memory_kind`` names."""
    fits: str | None
    note: str
    """What was assumed, or why there is no prediction."""
    measured_step_s: float | None
    measured_memory_gb: float | None
    measured_fits: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceError:
    """How far the predictions of a source's step times are off."""

    source: str
    rows: int
    """Rows with a prediction and a measured time."""
    median: float | None
    p90: float | None
    within_20: float | None
    bias: float | None
    """Median of predicted / measured - 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTable:
    """All predictions of a table."""

    predictions: tuple[RunPrediction, ...]

    def rows(self, group: Group | None) -> list[RunPrediction]:
        """Return the predictions of a group."""
        return [row for row in self.predictions if row.group == group]

    def errors(self, group: Group) -> list[SourceError]:
        """Return the error of step time by source, largest sources first."""
        return errors_by_source(self.rows(group))


def predict_table(in_csv: Path, out_csv: Path) -> RunsTable:
    """Read a table, write it with the predicted columns added, and return the predictions.

    Raises:
        UsageError: If the table cannot be read or written, or has none of the columns that predictions need.
    """
    columns, rows = read_table(in_csv)
    predictions = [predict_row(row) for row in rows]
    fields = [*(name for name in columns if name not in PREDICTED_COLUMNS), *PREDICTED_COLUMNS]
    try:
        with out_csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=fields, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, **_cells(found)} for row, found in zip(rows, predictions, strict=True))
    except OSError as error:
        raise UsageError(f"Cannot be written: {error.strerror or error}.", where=str(out_csv)) from error
    return RunsTable(predictions=tuple(predictions))


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and rows of a CSV file.

    Raises:
        UsageError: If it cannot be read or lacks the columns that predictions need.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{name: value or "" for name, value in row.items() if name} for row in reader]
            columns = [name for name in reader.fieldnames or () if name]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"Cannot be read as a table: {error}.", where=str(path), fix="Pass a CSV file.") from error
    needed = {"gpu", "num_gpus"}
    if not needed <= set(columns):
        raise UsageError(
            f"No column {' and '.join(sorted(needed - set(columns)))}.",
            where=str(path),
            fix=f"Name the columns {', '.join((*MODEL_COLUMNS, *LAYOUT_COLUMNS))} (docs/published-runs.md).",
        )
    return columns, rows


def predict_row(row: Mapping[str, str]) -> RunPrediction:
    """Predict one row; never raises for what the row holds."""
    unmeasured = {name: value for name, value in row.items() if name not in MEASURED_COLUMNS}
    try:
        config = run_config_from_row(unmeasured)
        time = estimate_run_time(config)
        kind = memory_kind(row.get("memory_kind") or "")
        memory = estimate_run_memory(config)
    except (TrainworthyError, ArithmeticError) as error:
        reason = error.message if isinstance(error, TrainworthyError) else "the sizes are beyond what can be computed."
        return _without(row, reason)
    status = (row.get("status") or "").casefold()
    return RunPrediction(
        id=row.get("id") or "", source=source_of(row), group="stated" if states_layout(row) else "assumed",
        config=config, step_s=time.step_s.expected, mfu=predicted_mfu(unmeasured, config, step_s=time.step_s.expected),
        peak_memory_gb=memory.figure(kind.figure).expected / kind.unit_bytes, fits=memory.fits,
        note="; ".join(time.assumptions), measured_step_s=measured_step_s(row, config) if status != "oom" else None,
        measured_memory_gb=number(row.get("peak_memory_gb")), measured_fits={"ok": "yes", "oom": "no"}.get(status),
    )  # fmt: skip


def _without(row: Mapping[str, str], reason: str) -> RunPrediction:
    return RunPrediction(
        id=row.get("id") or "", source=source_of(row), group=None, config=None, step_s=None, mfu=None,
        peak_memory_gb=None, fits=None, note=f"no prediction: {reason}", measured_step_s=None,
        measured_memory_gb=number(row.get("peak_memory_gb")), measured_fits=None,
    )  # fmt: skip


def _cells(found: RunPrediction) -> dict[str, str]:
    values = (found.step_s, found.mfu, found.peak_memory_gb)
    numbers = ["" if value is None else f"{value:.5g}" for value in values]
    return dict(zip(PREDICTED_COLUMNS, (*numbers, found.fits or "", found.note), strict=True))


def source_of(row: Mapping[str, str]) -> str:
    """Return where a row is from: the repository, or the paper, of ``source_url``, or what its id starts with.

    >>> source_of({"source_url": "https://github.com/NVIDIA/NeMo/blob/main/x.md"}), source_of({"id": "mine-01"})
    ('NVIDIA/NeMo', 'mine')
    >>> source_of({"source_url": "https://github.com/a/b/x + arXiv:2104.04473 Table 1"}), source_of({})
    ('a/b', 'unnamed')
    """
    url = row.get("source_url") or ""
    found = re.search(r"github\.com/([\w.-]+/[\w.-]+)", url) or re.search(r"(arXiv:\s*\d{4}\.\d{4,5})", url)
    if found:
        return found[1]
    return (row.get("id") or "").split("-")[0] or url[:40] or "unnamed"


def errors_by_source(rows: Iterable[RunPrediction]) -> list[SourceError]:
    """Summarise the error of step times by source; sources without measured times are left out."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row.step_s and row.measured_step_s:
            ratios.setdefault(row.source, []).append(row.step_s / row.measured_step_s)
    return sorted((source_error(name, found) for name, found in ratios.items()), key=lambda each: -each.rows)


def source_error(name: str, ratios: Sequence[float]) -> SourceError:
    """Summarise predicted / measured of one source."""
    errors = sorted(abs(ratio - 1) for ratio in ratios)
    return SourceError(
        source=name, rows=len(errors), median=statistics.median(errors), p90=errors[int(0.9 * (len(errors) - 1) + 0.5)],
        within_20=sum(error <= 0.2 for error in errors) / len(errors), bias=statistics.median(ratios) - 1,
    )  # fmt: skip


def weighted_median_error(rows: Iterable[RunPrediction]) -> float | None:
    """Return the median error of step time with all sources of equal weight."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.step_s and row.measured_step_s:
            groups.setdefault(row.source, []).append(abs(row.step_s / row.measured_step_s - 1))
    weighted = sorted((error, 1 / len(found)) for found in groups.values() for error in found)
    half, passed = sum(weight for _, weight in weighted) / 2, 0.0
    for error, weight in weighted:
        passed += weight
        if passed >= half:
            return error
    return None
