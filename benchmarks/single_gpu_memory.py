"""Peak memory of the rows of single_gpu.csv that have a profile, by what was measured.

Lambda's rows note that their batch was chosen to fill the card. With the note alone a card's size answers; what the
model of the step says without it is counted apart, by model, and rows are shown that contradict themselves: the same
model, precision and batch also ran on a card that has less memory than they were seen to take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

from trainworthy.estimate.single_gpu_runs import run_prediction
from trainworthy.estimate.single_gpu_tables import batch_of, fills_the_card, gpu_of
from trainworthy.hardware.rows import gpu_rows

Row = dict[str, str]

WITHOUT_NOTE = "the same, without the note that the batch fills the card"


def compare_memory(rows: Sequence[Row]) -> dict[str, Any]:
    """Compare predicted and measured peaks by ``memory_kind``; and what is said of rows that ran out of memory."""
    errors: dict[str, list[float]] = defaultdict(list)
    by_model: dict[str, list[float]] = defaultdict(list)
    said: dict[str, list[str]] = {"ok": [], "oom": []}
    for row in rows:
        predicted = run_prediction(row)
        if predicted.fits:
            said[row["status"]].append(predicted.fits)
        if predicted.peak_memory_gb is None or not row["peak_memory_gb"]:
            continue
        measured = float(row["peak_memory_gb"])
        errors[row["memory_kind"]].append(predicted.peak_memory_gb / measured - 1)
        plain = run_prediction({**row, "note": ""}).peak_memory_gb if fills_the_card(row) else None
        if plain is not None:
            by_model[row["model"]].append(plain / measured - 1)
    errors[WITHOUT_NOTE] = list(chain.from_iterable(by_model.values()))
    fits = {
        status: {answer: answers.count(answer) for answer in ("yes", "unsure", "no")}
        for status, answers in said.items()
    }
    return {
        "by_kind": {kind: _figures(errors[kind]) for kind in sorted(errors) if errors[kind]},
        "without_note_by_model": {model: _figures(values) for model, values in sorted(by_model.items())},
        "contradictions": contradictions(rows), "fits": fits,
    }  # fmt: skip


def _figures(errors: list[float]) -> dict[str, Any]:
    from benchmarks.single_gpu import summary

    within = 100 * sum(abs(e) <= 0.15 for e in errors) / len(errors)
    return {**summary(errors), "within_15_pct": round(within, 1)}


def contradictions(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows that took more than the whole memory of another card on which the same step, or a larger one, ran."""
    ran = [
        (row, batch, gpu_rows()[gpu].memory_bytes / 2**30)
        for row in rows
        if row["status"] == "ok" and row["task"] == "train" and (batch := batch_of(row)) and (gpu := gpu_of(row))
        and gpu in gpu_rows()
    ]  # fmt: skip
    found = []
    for row, batch, own_gib in ran:
        if not row["peak_memory_gb"] or "GiB" not in row["memory_kind"]:
            continue
        same = [
            (card_gib, other) for other, other_batch, card_gib in ran
            if (other["model"], other["precision"]) == (row["model"], row["precision"])
            and other_batch >= batch and card_gib < own_gib
        ]  # fmt: skip
        card_gib, other = min(same, key=lambda pair: pair[0], default=(own_gib, row))
        if float(row["peak_memory_gb"]) > card_gib and other is not row:
            found.append({
                "id": row["id"], "model": row["model"], "batch": batch, "measured_gib": float(row["peak_memory_gb"]),
                "ran_with_gib": round(card_gib, 1), "there": other["id"],
            })  # fmt: skip
    return found
