"""``estimate --model`` and ``estimate --runs``: without a script and without torch."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainworthy.cli.estimate import DEFAULT_GPU, amounts_of, finish
from trainworthy.cli.options import emit
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.estimate.model_run import ModelRun

_PRECISIONS = ("bf16", "fp16", "fp32", "tf32", "fp8", "nvfp4")
_MOST = 10**9  # of a size in the layout; more is a slip


def estimate_model(options: argparse.Namespace) -> int:
    """Estimate a run from sizes and a layout."""
    from trainworthy.estimate.model_estimate import estimate_of_model

    amounts = amounts_of(options)
    names = [name.strip() for name in (options.gpu or DEFAULT_GPU).split(",") if name.strip()]
    estimates = [
        estimate_of_model(_run(options, name), amounts=amounts, what_ifs=options.what_ifs != "none") for name in names
    ]
    return finish(estimates, options)


def _run(options: argparse.Namespace, gpu: str) -> ModelRun:
    from trainworthy.estimate.model_run import estimate_model as estimate_run
    from trainworthy.estimate.model_run import model_run

    run = estimate_run(options.model, options={**_layout(options), "gpu": gpu})
    config = run.config
    per_pass = config.dp * config.micro_batch
    if config.global_batch % per_pass:
        raise UsageError(
            f"A global batch of {config.global_batch:,} is no multiple of {config.dp:,} data-parallel ranks x "
            f"micro-batch {config.micro_batch:,}.", where="--global-batch", fix=f"Pass a multiple of {per_pass:,}.",
        )  # fmt: skip
    rate = options.network_gbit_s
    if rate is None:
        return run
    if not 0 < rate <= 1e6:
        raise UsageError(f"The network is {rate:g} Gbit/s a GPU.", where="--network-gbit-s", fix="Pass such as 400.")
    return model_run(dataclasses.replace(run.config, network_gb_per_s=rate / 8))


def _layout(options: argparse.Namespace) -> dict[str, object]:
    """Return the layout with the columns of a table of runs."""
    sizes = {
        "num_gpus": options.world_size, "gpus_per_node": options.gpus_per_node, "tp": options.tp, "pp": options.pp,
        "cp": options.cp, "ep": options.ep, "micro_batch": options.micro_batch, "global_batch": options.global_batch,
        "seq_len": options.seq_len, "interleave": options.interleave,
    }  # fmt: skip
    for name, value in sizes.items():
        if value is not None and not 1 <= value <= _MOST:
            option = {"num_gpus": "--world-size"}.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"{option} is {value}.", where=option, fix="Pass a whole number of at least 1.")
    if options.precision not in _PRECISIONS:
        raise UsageError(
            f"Unknown precision {options.precision!r}. Known: {', '.join(_PRECISIONS)}.", where="--precision",
            fix="Pass one of these.",
        )  # fmt: skip
    return {
        **{name: value for name, value in sizes.items() if value is not None},
        **({} if options.zero_stage is None else {"zero_stage": options.zero_stage}),
        "activation_checkpointing": options.checkpointing, "precision": options.precision,
        **{name: given for name in ("optimizer", "stack") if (given := getattr(options, name)) is not None},
    }  # fmt: skip


def estimate_runs(options: argparse.Namespace) -> int:
    """Predict every row of a table, write it, and print the error by source where the table was measured."""
    if options.output is None:
        raise UsageError(
            "Where to write the table is not said.",
            where="--runs",
            fix="Add --output OUT.csv; the input is not changed.",
        )
    source, target = Path(options.runs), Path(options.output)
    if source.resolve() == target.resolve():
        raise UsageError("The table would be overwritten.", where="--output", fix="Pass another file.")
    from trainworthy.estimate.runs_table import predict_table
    from trainworthy.estimate.single_gpu import is_single_gpu_table
    from trainworthy.estimate.single_gpu_runs import predict_single_gpu_table
    from trainworthy.report.runs_text import render_runs

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
    predict = predict_single_gpu_table if is_single_gpu_table(_columns(source)) else predict_table
    emit(render_runs(predict(source, target), width=width), None)
    return 0


def _columns(path: Path) -> list[str]:
    """Return the columns of a table.

    Raises:
        UsageError: If it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"Cannot be read as a table: {error}.", where=str(path), fix="Pass a CSV file.") from error
