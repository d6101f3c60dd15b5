"""Throughput and memory of ordinary models on single GPUs, predicted and measured by others.

``python -m benchmarks.single_gpu [--data DIR] [--cache DIR] [--fit] [--memory-only]`` reads ``single_gpu.csv`` and the
two tables of timm in DIR (see ../shared/data/README.md), writes ``results/single_gpu.json`` (from which
docs/generate.py makes docs/single-gpu.md), and says so where a table is not there. ``--fit`` also writes the scales,
fitted to the stated subset, to ``estimate/published_rates.toml``; ``--memory-only`` compares memory again and keeps the
stored rest, for which timm has to be installed and 300 models to be recorded.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import single_gpu_fit as fitting
from benchmarks.common import ROOT, read_result, write_result
from benchmarks.single_gpu_fit import Case, Scales

DATA = ROOT.parent / "shared" / "data"
RATES = ROOT / "src" / "trainworthy" / "estimate" / "published_rates.toml"
TIMM = {
    "train": "benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv",
    "infer": "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv",
}
TIMM_SAMPLE = 150
# The calibration of the RTX 3090 on timm's tables: one of each common kind, taken out of the sample.
TIMM_CALIBRATION = (
    "resnet50", "efficientnet_b0", "vit_base_patch16_224", "convnext_tiny", "swin_tiny_patch4_window7_224",
    "mobilenetv3_large_100", "regnety_032", "densenet121", "resnext50_32x4d", "mixer_b16_224",
)  # fmt: skip
TIMM_GPU = "rtx-3090-24gb"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with single_gpu.csv and timm/")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "timm", help="where recorded steps are kept")
    parser.add_argument("--fit", action="store_true", help="fit estimate/published_rates.toml first")
    parser.add_argument("--memory-only", action="store_true", help="compare memory again, keep the stored throughput")
    options = parser.parse_args()
    table = options.data / "single_gpu.csv"
    if not table.is_file():
        raise SystemExit(f"No {table}: pass --data DIR. The tables are not part of this repository.")
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    if options.memory_only:
        write_memory(rows)
        return
    good, bad = fitting.cases(rows)
    models, missing = timm_cases(options.data / "timm", options.cache)
    calibration = [c for c in models if c.row["model"] in TIMM_CALIBRATION]
    subset = [c for c in fitting.chosen(good) if c.found.gpu != TIMM_GPU] + calibration
    scales = fitting.fit(subset, known=timm_scales(calibration))
    if options.fit:
        RATES.write_text(fitting.toml_text(scales, subset, date=date.today().isoformat()), encoding="utf-8")
        print(f"wrote {RATES.relative_to(ROOT)}")
    result = compare(rows, good, bad, models, missing, subset, scales, timm_scales(calibration))
    write_result("single_gpu", **result)
    print("docs/single-gpu.md is written from it by `python docs/generate.py --quick`")


def write_memory(rows: list[dict[str, str]]) -> None:
    """Replace the memory part of the stored result."""
    from benchmarks.single_gpu_memory import compare_memory

    stored = read_result("single_gpu")
    if stored is None:
        raise SystemExit("There is no stored result yet: run it without --memory-only first.")
    throughput = {name: stored[name] for name in ("date", "machine", "versions")}
    content = {name: part for name, part in stored.items() if name not in ("benchmark", "throughput_of", *throughput)}
    before = stored.get("throughput_of", throughput)
    write_result("single_gpu", **{**content, "throughput_of": before, "memory": compare_memory(rows)})


def timm_scales(calibration: list[Case]) -> Scales | None:
    """Return the scales of timm's GPU from its ten models alone; the tables of others have software of their own."""
    return fitting.fit(calibration)._replace(host={}, workload={}) if calibration else None


# --- timm's tables ------------------------------------------------------------------------------------------------


def timm_cases(folder: Path, cache: Path) -> tuple[list[Case], dict[str, str]]:
    """Record the sample and the calibration models of both tables; and say which could not be built."""
    found: list[Case] = []
    missing: dict[str, str] = {}
    for mode, name in TIMM.items():
        path = folder / name
        if not path.is_file():
            print(f"No {path}: timm's table is left out.")
            continue
        table = {row["model"]: row for row in csv.DictReader(path.open(encoding="utf-8"))}
        by_hash = sorted(table, key=lambda model: hashlib.sha256(model.encode()).hexdigest())
        sample = [model for model in by_hash if model not in TIMM_CALIBRATION]
        taken = 0
        for model in (*TIMM_CALIBRATION, *sample):
            if model not in table or taken == TIMM_SAMPLE:
                continue
            case = _timm_case(table[model], mode, cache)
            if isinstance(case, str):
                missing[f"{mode}:{model}"] = case
                continue
            taken += model not in TIMM_CALIBRATION
            found.append(case)
    return found, missing


def _timm_case(row: dict[str, str], mode: str, cache: Path) -> Case | str:
    from benchmarks.single_gpu_tapes import cached_step
    from trainworthy.estimate.machine import gpu_machine
    from trainworthy.estimate.profiles import CountedOp, ProfiledStep
    from trainworthy.estimate.single_gpu import RowParts, step_parts

    batch, size = int(row[f"{mode}_batch_size"]), int(row[f"{mode}_img_size"])
    try:
        recorded = cached_step(cache, row["model"], batch=batch, size=size, train=mode == "train")
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]
    ops = tuple(CountedOp(count, phase, signature) for count, phase, signature in recorded.ops)  # type: ignore[arg-type]
    step = ProfiledStep(ops=ops, views={}, peak_bytes=recorded.peak_bytes, parameters=0, trains=mode == "train")
    parts = step_parts(step, machine=gpu_machine(TIMM_GPU))
    seconds = batch / float(row[f"{mode}_samples_per_sec"])
    row = {
        "id": f"timm-{mode}-{row['model']}",
        "model": row["model"],
        "task": mode,
        "num_gpus": "1",
        "precision": "amp",
        "flops": str(sum(count * (signature.flops or 0) for count, _, signature in recorded.ops)),
    }
    return Case(row, RowParts(parts, step, TIMM_GPU, f"timm {mode}", "", batch, True), seconds)


# --- the comparison -----------------------------------------------------------------------------------------------


def compare(
    rows: list[dict[str, str]], good: list[Case], bad: dict[str, str], models: list[Case], missing: dict[str, str],
    subset: list[Case], scales: Scales, known: Scales | None,
) -> dict[str, Any]:  # fmt: skip
    """Compare all rows outside of the calibration, before and after it."""
    used = {case.row["id"] for case in subset}
    none = Scales({}, {}, {}, {})
    test = [case for case in good if case.row["id"] not in used]
    sample = [case for case in models if case.row["id"] not in used]
    stated = [case for case in test if case.found.batch_stated]
    assumed = [case for case in test if not case.found.batch_stated]
    from benchmarks.single_gpu_memory import compare_memory

    return {
        "calibration_rows": sorted(used),
        "timm": {
            mode: {
                "sample": len(chosen := [c for c in sample if c.row["task"] == mode]),
                "uncalibrated": figures(chosen, none), "calibrated": figures(chosen, scales),
                "null": null_model(chosen, [c for c in subset if c.row["task"] == mode and "flops" in c.row]),
            }
            for mode in TIMM
        },
        "timm_not_built": missing,
        "table": {
            "rows": len(rows), "compared": len(test), "calibration": len(good) - len(test),
            "uncalibrated": figures(test, none), "calibrated": figures(test, scales),
            "batch_stated": figures(stated, scales), "batch_assumed": figures(assumed, scales),
            "left_one_gpu_out": left_out(test, subset, known),
        },
        "by_source": grouped(test, scales, lambda c: c.row["id"].split("-")[0]),
        "by_gpu": grouped(test, scales, lambda c: c.found.gpu),
        "by_task": grouped(test, scales, lambda c: c.row["task"]),
        "by_gpus": grouped(test, scales, lambda c: "one" if c.row["num_gpus"] == "1" else "several"),
        "by_model": grouped(test, scales, lambda c: c.row["model"]),
        "no_prediction": count_reasons(bad.values()),
        "worst": [
            {
                "id": c.row["id"], "model": c.row["model"], "gpu": c.found.gpu,
                "error_pct": round(100 * error(c, scales), 1),
            }
            for c in sorted(test, key=lambda c: -abs(error(c, scales)))[:25]
        ],
        "memory": compare_memory(rows),
    }  # fmt: skip


def error(case: Case, scales: Scales) -> float:
    """Return the relative error of the throughput: predicted over measured, less 1."""
    return case.measured_s / fitting.step_s(case, scales) - 1


def figures(cases: list[Case], scales: Scales) -> dict[str, Any]:
    """Summarise the errors of throughput: median and nine in ten of absolute ones, and the bias."""
    return summary([error(case, scales) for case in cases])


def summary(errors: list[float]) -> dict[str, Any]:
    """Summarise relative errors in per cent."""
    if not errors:
        return {"rows": 0}
    sizes = sorted(abs(e) for e in errors)
    return {
        "rows": len(errors), "median_pct": round(100 * statistics.median(sizes), 1),
        "p90_pct": round(100 * sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))], 1),
        "bias_pct": round(100 * statistics.median(errors), 1),
    }  # fmt: skip


def null_model(sample: list[Case], calibration: list[Case]) -> dict[str, Any]:
    """Predict by FLOPs over one constant rate, the median of the calibration's."""
    if not calibration:
        return {"rows": 0}
    rate = statistics.median(float(c.row["flops"]) / c.measured_s for c in calibration)
    return summary([c.measured_s * rate / float(c.row["flops"]) - 1 for c in sample])


def grouped(cases: list[Case], scales: Scales, key: Callable[[Case], str]) -> dict[str, Any]:
    """Summarise by a key."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[key(case)].append(case)
    return {name: figures(groups[name], scales) for name in sorted(groups)}


def left_out(test: list[Case], subset: list[Case], known: Scales | None) -> dict[str, Any]:
    """Predict each GPU with scales fitted to the rows of the other GPUs only: what an uncalibrated GPU gets."""
    errors: list[float] = []
    for gpu in sorted({case.found.gpu for case in test}):
        others = fitting.fit(
            [case for case in subset if case.found.gpu != gpu], known=None if gpu == TIMM_GPU else known
        )
        errors += [error(case, others) for case in test if case.found.gpu == gpu]
    return summary(errors)


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """Count why rows have no prediction, most frequent first."""
    counts: dict[str, int] = defaultdict(int)
    for reason in reasons:
        counts[reason] += 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    main()
