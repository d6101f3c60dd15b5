"""Step times of published training runs against predictions: in sample, with a source left out, and a null model.

``python -m benchmarks.published_runs`` reads ``published_runs.csv`` (``--data``, by default ``../shared/data`` beside
the checkout), predicts every row with the constants in the package, and writes ``results/published_runs.json``. With
``--write`` it also fits the constants again and writes them to ``src/trainworthy/estimate/constants``. Nothing is read
from the measured columns but to compare and, with the fit, to fit.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, write_result
from benchmarks.published_runs_constants import write_constants, write_errors
from benchmarks.published_runs_fit import Fit, Row, errors_of, fit, thinned
from trainworthy.estimate.network import Topology, collective_s
from trainworthy.estimate.run_config import LAYOUT_COLUMNS, MODEL_COLUMNS, RunConfig
from trainworthy.estimate.runs_table import RunPrediction, predict_row, read_table, source_error
from trainworthy.estimate.stacks import GENERIC

DATA = ROOT.parent / "shared" / "data"
_LINKS = {"a100": (300.0, True), "v100": (150.0, False)}
"""GB/s in one direction of all links of a GPU, and whether a switch joins them."""


def find_data(given: Path | None) -> Path | None:
    """Return the folder with the measurements, or None."""
    folder = given or DATA
    return folder if (folder / "published_runs.csv").is_file() else None


def null_errors(rows: Sequence[Row], others: Sequence[Row]) -> list[float]:
    """Return log(predicted / measured) of FLOPs / peak x constant x bubble, the constant from other sources.

    One constant a GPU generation, the median over the other sources on it (over all of them where there is none).
    """
    found = []
    for row in rows:
        same = [other for other in others if other.config.generation == row.config.generation] or list(others)
        groups: dict[str, list[float]] = {}
        for other in same:
            groups.setdefault(other.source, []).append(math.log(other.measured_s / _ideal_s(other.config)))
        constant = statistics.median(statistics.median(values) for values in groups.values())
        found.append(math.log(_ideal_s(row.config) / row.measured_s) + constant)
    return found


def _ideal_s(config: RunConfig) -> float:
    """Time of the FLOPs at the dense peak of the precision, with recomputation and bubble."""
    model = config.model
    attention = 12.0 * model.layers * model.attention_width * config.seq_len
    flops = 6.0 * model.active_matmul_parameters + attention
    if config.checkpointing == "full":
        flops += (2.0 * model.active_layer_parameters) + attention / 3
    peak = config.gpu.peak_tflops("fp8" if config.precision in {"fp8", "nvfp4"} else "bf16")
    peak = peak or config.gpu.peak_tflops("fp16") or 1.0
    bubble = (config.pp - 1) / (config.grad_accumulation * config.interleave)
    return flops * config.step_tokens / config.num_gpus / (peak * 1e12) * (1 + bubble)


def summary(errors: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Summarise logarithmic errors by source: each source, and all with equal weight."""
    sources = {}
    for name, values in errors.items():
        found = source_error(name, [math.exp(value) for value in values])
        sources[name] = {
            "rows": found.rows, "median": found.median, "p90": found.p90, "within_20": found.within_20,
            "bias": found.bias,
        }  # fmt: skip
    weighted = sorted((abs(math.exp(v) - 1), 1 / len(values)) for values in errors.values() for v in values)
    return {
        "sources": sources, "weighted_median": _quantile(weighted, 0.5), "weighted_p90": _quantile(weighted, 0.9),
        "within_20": statistics.mean(each["within_20"] for each in sources.values()),
        "worst_source_median": max(each["median"] for each in sources.values()),
    }  # fmt: skip


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    wanted, passed = share * sum(weight for _, weight in weighted), 0.0
    for error, weight in weighted:
        passed += weight
        if passed >= wanted:
            return error
    return weighted[-1][0]


def by_source(rows: Sequence[Row], errors: Sequence[float], name: Callable[[Row], str]) -> dict[str, list[float]]:
    """Group errors by what names a source."""
    groups: dict[str, list[float]] = {}
    for row, error in zip(rows, errors, strict=True):
        groups.setdefault(name(row), []).append(float(error))
    return groups


def left_out(found: Fit, rows: Sequence[Row], name: Callable[[Row], str]) -> dict[str, list[float]]:
    """Predict every source with constants fitted to the others."""
    errors: dict[str, list[float]] = {}
    for source in dict.fromkeys(name(row) for row in rows):
        theta = found.without([name(row) != source for row in found.rows])
        held = [row for row in rows if name(row) == source]
        errors[source] = [float(each) for each in errors_of(held, found.constants, theta)]
    return errors


def halves(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Fit to every other row of each source and predict the rest: what held-out rows of the same sources would show."""
    kept, held = [], []
    seen: Counter[str] = Counter()
    for row in rows:
        (kept if seen[row.source] % 2 == 0 else held).append(row)
        seen[row.source] += 1
    found = fit(thinned(kept))
    return by_source(held, list(errors_of(held, found.constants, found.theta)), lambda row: row.source)


def network(folder: Path) -> list[dict[str, Any]]:
    """Compare measured all-reduce times with `collective_s`, by table."""
    found = []
    for path in sorted(folder.glob("nccl/*.lut")):
        gpu, ranks = path.stem.split("_")[1:]
        rate, switched = _LINKS[gpu]
        topology = Topology(domain=8, inside_gb_per_s=rate, between_gb_per_s=25, switched=switched)
        errors = []
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            size, _, _, nanoseconds, *_ = line.split(",")
            predicted = collective_s(
                kind="all_reduce", payload_bytes=float(size), ranks=int(ranks[:-3]), topology=topology
            )  # fmt: skip
            errors.append(abs(predicted / (float(nanoseconds) / 1e9) - 1))
        small = errors[:31]  # up to 32 MiB
        found.append({
            "table": path.stem, "sizes": len(errors), "median": statistics.median(errors),
            "median_to_32_mib": statistics.median(small), "worst": max(errors),
        })  # fmt: skip
    return found


def measured_rows(predictions: Sequence[RunPrediction], *, group: str) -> list[Row]:
    """Return the rows of a group that have a time to compare with."""
    return [
        Row(id=each.id, source=each.source, config=each.config, measured_s=each.measured_step_s)
        for each in predictions
        if each.group == group and each.config is not None and each.measured_step_s
    ]


def report(folder: Path, *, write: bool) -> dict[str, Any]:
    """Predict, compare, and fit."""
    _, raw = read_table(folder / "published_runs.csv")
    start = time.perf_counter()
    predictions = [predict_row(row) for row in raw]
    seconds = time.perf_counter() - start
    rows, assumed = measured_rows(predictions, group="stated"), measured_rows(predictions, group="assumed")
    # Rows of dense models that lack a column say something about constants too; they are not in the bars. Stacks
    # without a name are what is predicted with priors alone.
    fitting = [*rows, *(row for row in assumed if row.config.model.experts is None)]
    found = fit(thinned([row for row in fitting if row.config.stack != GENERIC]))
    fitted = [float(each) for each in errors_of(rows, found.constants, found.theta)]
    out = left_out(found, rows, _source)
    if write:
        write_constants(found, fitting)
        write_errors(rows, fitted, out)
    shipped = {each.id: each.step_s or 1.0 for each in predictions}
    return {
        "columns": {"required": [*MODEL_COLUMNS, *LAYOUT_COLUMNS]},
        "rows": _counts(predictions, rows, assumed), "seconds_a_row": seconds / len(raw),
        "shipped": summary(by_source(rows, _shipped(rows, shipped), _source)),
        "fitted": summary(by_source(rows, fitted, _source)), "left_out": summary(out),
        "null": summary(_null(rows)), "half_of_each_source": summary(halves(rows)),
        "assumed": summary(by_source(assumed, _shipped(assumed, shipped), _source)),
        "by_id_prefix": summary(by_source(rows, _shipped(rows, shipped), lambda row: row.id.split("-")[0])),
        "hardest": _hardest(rows, shipped), "constants": found.values(), "network": network(folder),
    }  # fmt: skip


def _source(row: Row) -> str:
    return row.source


def _shipped(rows: Sequence[Row], shipped: Mapping[str, float]) -> list[float]:
    return [math.log(shipped[row.id] / row.measured_s) for row in rows]


def _null(rows: Sequence[Row]) -> dict[str, list[float]]:
    return {
        source: null_errors([r for r in rows if r.source == source], [r for r in rows if r.source != source])
        for source in dict.fromkeys(row.source for row in rows)
    }


def _counts(predictions: Sequence[RunPrediction], rows: Sequence[Row], assumed: Sequence[Row]) -> dict[str, Any]:
    return {
        "table": len(predictions), "stated_with_time": len(rows), "assumed_with_time": len(assumed),
        "stated": sum(each.group == "stated" for each in predictions),
        "assumed": sum(each.group == "assumed" for each in predictions),
        "not_predicted": dict(Counter(each.note for each in predictions if each.group is None).most_common(12)),
    }  # fmt: skip


def _hardest(rows: Sequence[Row], shipped: Mapping[str, float]) -> list[dict[str, Any]]:
    """The rows that are furthest off, three a source at most."""
    order = sorted(rows, key=lambda row: -abs(math.log(shipped[row.id] / row.measured_s)))
    seen: Counter[str] = Counter()
    found = []
    for row in order:
        seen[row.source] += 1
        if seen[row.source] <= 3 and len(found) < 20:
            config, ratio = row.config, shipped[row.id] / row.measured_s
            layout = f"TP {config.tp}, PP {config.pp}, DP {config.dp}, CP {config.cp}, micro batch {config.micro_batch}"
            found.append({
                "id": row.id, "source": row.source, "ratio": ratio, "layout": layout, "model": config.model.name,
                "gpu": config.gpu.id,
            })  # fmt: skip
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with published_runs.csv")
    parser.add_argument("--write", action="store_true", help="write the fitted constants into the package")
    parser.add_argument("--no-result", action="store_true", help="print, but leave results/ as it is")
    options = parser.parse_args()
    folder = find_data(options.data)
    if folder is None:
        print("No published_runs.csv: pass --data FOLDER. The measurements are not part of this repository.")
        return 0
    content = report(folder, write=options.write)
    for name in ("shipped", "fitted", "half_of_each_source", "left_out", "null", "assumed"):
        found = content[name]
        print(f"{name:20s} median {found['weighted_median']:6.1%}  p90 {found['weighted_p90']:6.1%}  "
              f"within 20 % {found['within_20']:6.1%}  worst source {found['worst_source_median']:6.1%}")  # fmt: skip
    for source, each in content["shipped"]["sources"].items():
        alone, null = content["left_out"]["sources"][source], content["null"]["sources"][source]
        print(f"{source[:40]:40s} {each['rows']:4d} rows  {each['median']:6.1%}  within 20 % {each['within_20']:5.0%}  "
              f"left out {alone['median']:6.1%}  null {null['median']:6.1%}")  # fmt: skip
    for each in content["network"]:
        print(f"{each['table']:24s} all-reduce median {each['median']:5.1%}, to 32 MiB {each['median_to_32_mib']:5.1%}")
    if not options.no_result:
        print(write_result("published_runs", **content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
