"""``estimate --runs`` for tables with the columns of ``single_gpu.csv``: predictions and errors as for tables of runs.

The rows come back as those of ``runs_table.py`` do, so that one writer and one renderer serve both. Measured columns
are read after the prediction, to compare.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from trainworthy.errors import TrainworthyError, UsageError
from trainworthy.estimate.analytic_memory import estimate_memory
from trainworthy.estimate.finetune_rows import finetune_model, memory_input_from_row
from trainworthy.estimate.memory_words import memory_kind
from trainworthy.estimate.run_words import number
from trainworthy.estimate.runs_table import PREDICTED_COLUMNS, RunPrediction, RunsTable, source_of
from trainworthy.estimate.single_gpu import SingleGpuPrediction, predict_single_gpu_row, row_parts

MEASURED_COLUMNS = ("throughput", "step_time_ms", "tflops", "peak_memory_gb", "status")


def predict_single_gpu_table(in_csv: Path, out_csv: Path) -> RunsTable:
    """Read a table, write it with the predicted columns added, and return the predictions.

    Raises:
        UsageError: If the table cannot be read or written.
    """
    try:
        with in_csv.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{name: value or "" for name, value in row.items() if name} for row in reader]
            columns = [name for name in reader.fieldnames or () if name]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"Cannot be read as a table: {error}.", where=str(in_csv), fix="Pass a CSV file.") from error
    predictions = [run_prediction(row) for row in rows]
    fields = [*(name for name in columns if name not in PREDICTED_COLUMNS), *PREDICTED_COLUMNS]
    try:
        with out_csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=fields, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({**row, **_cells(found)} for row, found in zip(rows, predictions, strict=True))
    except OSError as error:
        raise UsageError(f"Cannot be written: {error.strerror or error}.", where=str(out_csv)) from error
    return RunsTable(predictions=tuple(predictions))


def run_prediction(row: Mapping[str, str]) -> RunPrediction:
    """Predict one row; never raises for what the row holds."""
    unmeasured = {name: value for name, value in row.items() if name not in MEASURED_COLUMNS}
    found = predict_single_gpu_row(unmeasured)
    step_s = found.step_time_s.expected if found.step_time_s else None
    memory_gb, fits = _memory_gb(unmeasured, found)
    status = (row.get("status") or "").casefold()
    stated = step_s is not None and not found.reason
    return RunPrediction(
        id=row.get("id") or "", source=source_of(row),
        group=None if step_s is None and memory_gb is None else "stated" if stated else "assumed",
        config=None, step_s=step_s, mfu=None, peak_memory_gb=memory_gb, fits=fits, note=found.reason,
        measured_step_s=None if status == "oom" else _measured_step_s(row, unmeasured),
        measured_memory_gb=number(row.get("peak_memory_gb")), measured_fits={"ok": "yes", "oom": "no"}.get(status),
    )  # fmt: skip


def _memory_gb(row: Mapping[str, str], found: SingleGpuPrediction) -> tuple[float | None, str | None]:
    kind = memory_kind(row.get("memory_kind") or "")
    finetunes = row.get("task") == "finetune" or "trainer" in row.get("model", "").casefold()
    if finetunes and finetune_model(row) is not None:
        try:
            memory = estimate_memory(memory_input_from_row(row))
            return memory.figure(kind.figure).expected / kind.unit_bytes, memory.fits
        except (TrainworthyError, ArithmeticError):
            pass  # the table may know it as a model with a profile
    if found.peak_memory_bytes is None:
        return None, found.fits
    return found.peak_memory_bytes.expected / kind.unit_bytes, found.fits


def _measured_step_s(row: Mapping[str, str], unmeasured: Mapping[str, str]) -> float | None:
    """Return the measured step, from the step time or the throughput in the unit of the row."""
    stated = number(row.get("step_time_ms"))
    if stated is not None:
        return stated / 1e3
    throughput = number(row.get("throughput"))
    parts = row_parts(unmeasured) if throughput else None
    return (
        parts.items_per_step / throughput if throughput and parts is not None and not isinstance(parts, str) else None
    )


def _cells(found: RunPrediction) -> dict[str, str]:
    values = (found.step_s, found.mfu, found.peak_memory_gb)
    numbers = ["" if value is None else f"{value:.5g}" for value in values]
    return dict(zip(PREDICTED_COLUMNS, (*numbers, found.fits or "", found.note), strict=True))
