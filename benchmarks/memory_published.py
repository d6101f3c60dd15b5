"""Peak memory of published runs, sharded and on one GPU, as `trainworthy.estimate` predicts it from their layout.

``python -m benchmarks.memory_published [--data DIR]`` writes ``results/memory_published.json`` and the table of
``docs/published-memory.md``. The data is not part of the project: DIR, by default ``../shared/data``, holds
``published_runs.csv`` and ``single_gpu.csv``; without them the benchmark says so and leaves. Measured columns are
never inputs: `run_config_from_row` and `memory_input_from_row` drop them.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, write_result
from benchmarks.memory_published_page import PAGE, write_page
from trainworthy.errors import TrainworthyError
from trainworthy.estimate.analytic_memory import RunMemory, estimate_memory, estimate_run_memory
from trainworthy.estimate.finetune_rows import memory_input_from_row
from trainworthy.estimate.memory_words import memory_kind
from trainworthy.estimate.run_config import run_config_from_row

Row = Mapping[str, str]

DATA = ROOT.parent / "shared" / "data"
# What tables leave out and their sources say elsewhere; nothing of it is measured.
COMPLETED = {
    "huggingface/nanotron": ({"seq_len": "4096"}, "scripts/scaling_benchmarks.py: SEQUENCE_LENGTHS"),
    "InternLM/InternEvo": ({"seq_len": "4096"}, "the page's other tables of these models: 4096 where none is printed"),
    "bigscience-workshop/bigscience": (
        {},
        "BLOOM's vocabulary; layers from the parameters where not printed",
    ),
}
ALEPH = "Aleph-Alpha/NeurIPS-WANT-submission-efficient-parallelization-layouts"


def main() -> None:
    """Predict every row, compare, and write the result and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    folder = parser.parse_args().data
    runs, single = folder / "published_runs.csv", folder / "single_gpu.csv"
    if not runs.exists() or not single.exists():
        print(f"no published_runs.csv and single_gpu.csv in {folder}: nothing was measured")
        return
    start = time.perf_counter()
    sharded = predict(read(runs), _run_memory)
    finetuned = predict([row for row in read(single) if is_language_model(row)], _single_memory)
    seconds = time.perf_counter() - start
    content = {
        "rows": len(sharded) + len(finetuned), "milliseconds_per_row": 1e3 * seconds / (len(sharded) + len(finetuned)),
        "completed": {name: what for name, (_, what) in COMPLETED.items()},
        "sharded": memory_errors(sharded), "one_gpu": memory_errors(finetuned, by="memory_kind"),
        "fits": {**fit_counts(sharded), "one GPU, language models": _fit_count(finetuned)},
        "left_out_source": left_out(sharded), "halves": halves(sharded), "hardest": hardest([*sharded, *finetuned]),
        "not_predicted": not_predicted([*sharded, *finetuned]),
    }  # fmt: skip
    write_result("memory_published", **content)
    write_page(PAGE, content)


def read(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def source_of(row: Row) -> str:
    """Name the repository, or the paper, that a row is from."""
    url = row.get("source_url", "").split(" ")[0].replace("https://github.com/", "")
    return "/".join(url.split("/")[:2]) if "/" in url else url


def completed(row: Row) -> dict[str, str]:
    """Fill what the source says outside its table, and a global batch that follows from the other columns."""
    found = dict(row)
    for name, value in COMPLETED.get(source_of(row), ({}, ""))[0].items():
        found[name] = found.get(name) or value
    factors = [found.get(name) or "" for name in ("grad_accum", "micro_batch", "num_gpus", "tp", "pp")]
    if not found.get("global_batch") and all(factor.isdigit() for factor in factors):
        accumulated, micro, gpus, tp, pp = map(int, factors)
        found["global_batch"] = str(accumulated * micro * (gpus // (tp * pp * int(found.get("cp") or 1))))
    if "vocab ~250k" in found.get("note", ""):
        _complete_bloom(found)
    return found


def _complete_bloom(row: dict[str, str]) -> None:
    """Fill BLOOM's padded vocabulary (config.json of bigscience/bloom), and layers that the parameters imply.

    The chronicles changed the number of layers with the number of stages and print parameters only: 12 h^2 a layer.
    Heads of those rows are not printed either; they weigh little with a fused softmax, 96 as in the runs after.
    """
    row["vocab"] = row.get("vocab") or "250880"
    hidden, billions = row.get("hidden", ""), row.get("params_b", "")
    if not row.get("layers") and hidden and billions:
        layers = (float(billions) * 1e9 - int(row["vocab"]) * int(hidden)) / (12 * int(hidden) ** 2)
        row["layers"], row["heads"] = str(round(layers)), row.get("heads") or "96"


def is_language_model(row: Row) -> bool:
    """Whether a row of single_gpu.csv trains or finetunes a language model whose memory is known or that ran out."""
    names = ("litgpt", "torchtune", "hf transformers")
    relevant = bool(row["peak_memory_gb"]) or row["status"] == "oom"
    return relevant and any(name in row["framework"].casefold() for name in names)


def _run_memory(row: Row) -> RunMemory:
    return estimate_run_memory(run_config_from_row(completed(row)))


def _single_memory(row: Row) -> RunMemory:
    return estimate_memory(memory_input_from_row(row))


def predict(rows: Iterable[Row], memory: Callable[[Row], RunMemory]) -> list[dict[str, Any]]:
    """Predict each row; a row that cannot be read keeps the reason."""
    found = []
    for row in rows:
        kind = row.get("memory_kind", "")
        entry: dict[str, Any] = {
            "id": row["id"], "model": row["model"], "gpu": row["gpu"], "source": source_of(row), "memory_kind": kind,
            "ran": row["status"] == "ok",
            "measured_gb": float(row["peak_memory_gb"]) if row.get("peak_memory_gb") else None,
            "states_memory_and_sharding": bool(row.get("gpu_memory_gb") and row.get("zero_stage")),
        }  # fmt: skip
        try:
            estimate = memory(row)
        except TrainworthyError as error:
            found.append({**entry, "error": error.message})
            continue
        figure, unit = memory_kind(kind)
        quantity = estimate.figure(figure)
        found.append({
            **entry, "predicted_gb": quantity.expected / unit, "low_gb": quantity.low / unit,
            "high_gb": quantity.high / unit, "fits": estimate.fits,
            "share": estimate.device.expected / estimate.memory_bytes, "moment": estimate.moment,
            "parts_gib": {part.name: round(part.bytes.expected / 2**30, 2) for part in estimate.parts},
        })  # fmt: skip
    return found


def _error(entry: Mapping[str, Any]) -> float | None:
    if entry.get("measured_gb") is None or "predicted_gb" not in entry:
        return None
    return float(entry["predicted_gb"] / entry["measured_gb"] - 1)


def memory_errors(entries: list[dict[str, Any]], *, by: str = "source") -> dict[str, dict[str, Any]]:
    """Sum up relative errors by source or memory kind, and over all."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        if _error(entry) is not None:
            groups[entry[by]].append(entry)
    out = {name: _summary(group) for name, group in sorted(groups.items())}
    out["all"] = _summary([entry for group in groups.values() for entry in group])
    return out


def _summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    errors = [error for entry in entries if (error := _error(entry)) is not None]
    sizes = sorted(abs(error) for error in errors)
    inside = sum(entry["low_gb"] <= entry["measured_gb"] <= entry["high_gb"] for entry in entries)
    return {
        "rows": len(errors), "median_abs_pct": 100 * statistics.median(sizes),
        "p90_abs_pct": 100 * sizes[max(0, -(-9 * len(sizes) // 10) - 1)], "median_pct": 100 * statistics.median(errors),
        "within_10_pct": sum(size <= 0.10 for size in sizes), "within_15_pct": sum(size <= 0.15 for size in sizes),
        "in_range": inside,
    }  # fmt: skip


def fit_counts(entries: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Count verdicts: rows that state GPU memory and sharding, Aleph Alpha's grid, and the rest, apart."""
    groups: dict[str, list[dict[str, Any]]] = {"stated": [], "Aleph Alpha's grid": [], "the others": []}
    for entry in entries:
        if entry["source"] == ALEPH:
            groups["Aleph Alpha's grid"].append(entry)
        else:
            groups["stated" if entry["states_memory_and_sharding"] else "the others"].append(entry)
    return {name: _fit_count(group) for name, group in groups.items()}


def _fit_count(entries: list[dict[str, Any]]) -> dict[str, int]:
    """Right and wrong are of the expected figure; ``unsure`` counts the rows that are too close to call among them."""
    known = [entry for entry in entries if "share" in entry]
    right = [entry for entry in known if (entry["share"] <= 1) == entry["ran"]]
    return {
        "rows": len(known), "ran": sum(entry["ran"] for entry in known), "right": len(right),
        "said_fits_but_ran_out": sum(entry["share"] <= 1 and not entry["ran"] for entry in known),
        "said_no_but_ran": sum(entry["share"] > 1 and entry["ran"] for entry in known),
        "unsure": sum(entry["fits"] == "unsure" for entry in known),
        "unsure_and_wrong": sum(e["fits"] == "unsure" and (e["share"] <= 1) != e["ran"] for e in known),
    }  # fmt: skip


def left_out(entries: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Scale by one factor fitted to all other sources: would a correction learned elsewhere help or hurt?"""
    by_source: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if _error(entry) is not None:
            by_source[entry["source"]].append(entry["measured_gb"] / entry["predicted_gb"])
    out = {}
    for name, ratios in sorted(by_source.items()):
        others = [statistics.median(other) for source, other in by_source.items() if source != name]
        factor = statistics.median(others)
        out[name] = {
            "factor": factor, "median_abs_pct": 100 * statistics.median(abs(factor / ratio - 1) for ratio in ratios),
        }  # fmt: skip
    return out


def halves(entries: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Median absolute error of every other row of a source, and of the rows between: do they agree?"""
    groups: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if (error := _error(entry)) is not None:
            groups[entry["source"]].append(100 * abs(error))
    return {
        name: [statistics.median(errors[0::2]), statistics.median(errors[1::2])]
        for name, errors in sorted(groups.items())
        if len(errors) >= 4
    }


def hardest(entries: list[dict[str, Any]], *, count: int = 16) -> list[dict[str, Any]]:
    """List the rows with the largest errors."""
    known = [entry for entry in entries if _error(entry) is not None]
    worst = sorted(known, key=lambda entry: -abs(_error(entry) or 0.0))[:count]
    names = ("id", "model", "gpu", "memory_kind", "measured_gb", "predicted_gb", "moment", "parts_gib")
    return [{name: entry[name] for name in names} for entry in worst]


def not_predicted(entries: list[dict[str, Any]]) -> dict[str, int]:
    """Count the rows with a measured peak, or that ran out of memory, that could not be read, by reason."""
    out: dict[str, int] = defaultdict(int)
    for entry in entries:
        if "error" in entry and (entry["measured_gb"] is not None or not entry["ran"]):
            out[f"{entry['source']}: {entry['error']}"] += 1
    return dict(sorted(out.items()))


if __name__ == "__main__":
    main()
