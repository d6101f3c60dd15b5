"""Peak memory of the rows of single_gpu.csv that have a profile, by what was measured."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from trainworthy.estimate.single_gpu import predict_single_gpu_row


def compare_memory(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Compare predicted and measured peaks by ``memory_kind``; and what is said of rows that ran out of memory."""
    from benchmarks.single_gpu import summary

    errors: dict[str, list[float]] = defaultdict(list)
    oom: list[str] = []
    for row in rows:
        predicted = predict_single_gpu_row(row)
        if predicted.peak_memory_bytes is None:
            continue
        if row["status"] == "oom":
            oom.append(predicted.fits or "")
        elif row["peak_memory_gb"]:
            unit = 1e9 if "1e9" in row["memory_kind"] else 2**30
            measured = float(row["peak_memory_gb"]) * unit
            errors[row["memory_kind"]].append(predicted.peak_memory_bytes.expected / measured - 1)
    found = {kind: summary(values) for kind, values in sorted(errors.items())}
    for kind, values in errors.items():
        found[kind]["within_15_pct"] = round(100 * sum(abs(e) <= 0.15 for e in values) / len(values), 1)
    return {"by_kind": found, "out_of_memory": {"rows": len(oom), "said_not_to_fit": sum(f != "yes" for f in oom)}}
