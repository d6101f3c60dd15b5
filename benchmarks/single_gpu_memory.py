"""Peak memory of the rows of single_gpu.csv that have a profile, by what was measured."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from trainworthy.estimate.single_gpu_runs import run_prediction
from trainworthy.estimate.single_gpu_tables import fills_the_card


def compare_memory(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Compare predicted and measured peaks by ``memory_kind``; and what is said of rows that ran out of memory."""
    from benchmarks.single_gpu import summary

    errors: dict[str, list[float]] = defaultdict(list)
    said: dict[str, list[str]] = {"ok": [], "oom": []}
    for row in rows:
        predicted = run_prediction(row)
        if predicted.fits:
            said[row["status"]].append(predicted.fits)
        if predicted.peak_memory_gb is None or not row["peak_memory_gb"]:
            continue
        measured = float(row["peak_memory_gb"])
        errors[row["memory_kind"]].append(predicted.peak_memory_gb / measured - 1)
        if fills_the_card(row):  # the note says how full the card is: the model of the step alone, for comparison
            plain = run_prediction({**row, "note": ""})
            if plain.peak_memory_gb is not None:
                errors["the same, without the note that the batch fills the card"].append(
                    plain.peak_memory_gb / measured - 1
                )
    found = {kind: summary(values) for kind, values in sorted(errors.items())}
    for kind, values in errors.items():
        found[kind]["within_15_pct"] = round(100 * sum(abs(e) <= 0.15 for e in values) / len(values), 1)
    fits = {
        status: {answer: answers.count(answer) for answer in ("yes", "unsure", "no")}
        for status, answers in said.items()
    }
    return {"by_kind": found, "fits": fits}
