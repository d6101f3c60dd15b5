"""``train RECIPE --dry-run``: its file is checked, a few steps are rehearsed on a virtual GPU and estimated."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy.cli.options import emit
from trainworthy.cli.progress import ProgressLine
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.check.run import CheckResult
    from trainworthy.estimate.result import Estimate
    from trainworthy.inspect import RehearsalResult
    from trainworthy.train.config import Resolved

DEFAULT_GPU = "h100-sxm-80gb"


def dry_run(resolved: Resolved, options: argparse.Namespace) -> int:
    """Check, rehearse, estimate and print; 1 if something is wrong or does not fit."""
    from trainworthy._api.estimate import estimate_result
    from trainworthy.check.config import load_config
    from trainworthy.check.run import check_paths
    from trainworthy.hardware import gpu_row

    gpu = gpu_row(options.gpu or DEFAULT_GPU).id
    _check_batch(resolved, options.world_size or 1)
    checked = check_paths([str(resolved.source.path)], load_config(str(resolved.source.path)))
    rehearsed = rehearse_recipe(options, gpu)
    estimate = None if rehearsed.error is not None else estimate_result(rehearsed, gpu=gpu)
    if options.format == "json":
        emit(_as_json(checked, rehearsed, estimate), None)
    else:
        emit(_as_text(checked, rehearsed, estimate, [options.recipe, *options.settings_given]), None)
    errors = any(each.severity == "error" for each in checked.findings)
    errors = errors or any(each.get("severity") == "error" for each in rehearsed.findings)
    good = not errors and rehearsed.verdict == "fits"
    return 0 if good or options.exit_zero else 1


def _check_batch(resolved: Resolved, world_size: int) -> None:
    """Refuse a batch that leaves ranks without a sample: the run would go on, but most of the GPUs would idle."""
    settings = resolved.recipe.options
    replicas = world_size // (settings.tensor_parallel * settings.pipeline_parallel)
    if settings.batch_size < replicas:
        raise UsageError(
            f"train.batch_size is {settings.batch_size}: of {replicas} ranks that read data, "
            f"{replicas - settings.batch_size} would have no sample.",
            where="train.batch_size", fix=f"Pass train.batch_size={replicas} or more, or fewer GPUs.",
        )  # fmt: skip


def rehearse_recipe(options: argparse.Namespace, gpu: str) -> RehearsalResult:
    """Rehearse ``trainworthy train`` with the same recipe and settings, as any other program."""
    from trainworthy._api.rehearse import rehearse
    from trainworthy._api.train_utilisation import rehearsed_words

    words = rehearsed_words([options.recipe, *options.settings_given], options.config)
    with ProgressLine(label=gpu) as line, tempfile.TemporaryDirectory(prefix="trainworthy-") as empty:
        return rehearse(
            "trainworthy", is_module=True, args=[*words, "--output", str(Path(empty) / "run")], gpu=gpu,
            time_limit_s=options.time_limit, world_size=options.world_size, gpus_per_node=options.gpus_per_node,
            on_progress=line.show,
        )  # fmt: skip


def _as_text(checked: CheckResult, rehearsed: RehearsalResult, estimate: Estimate | None, words: Sequence[str]) -> str:
    from trainworthy.report import render_text
    from trainworthy.report.estimate_text import render_estimate_text
    from trainworthy.report.findings.full import render_full

    checks = render_full(checked, color=False)
    parts = ["CHECK", checks, "", "REHEARSAL", _head(render_text([rehearsed]), "Modules (")]
    if estimate is not None:
        parts += ["", "ESTIMATE", _head(render_estimate_text([estimate]), "Phases")]
    command = " ".join(["trainworthy rehearse -m trainworthy train", *words])
    parts += ["", f"Modules, lines and memory: {command}"]
    return "\n".join(part.rstrip("\n") for part in parts)


def _head(text: str, table: str) -> str:
    """Return what stands before a table."""
    return text.partition(f"\n\n{table}")[0]


def _as_json(checked: CheckResult, rehearsed: RehearsalResult, estimate: Estimate | None) -> str:
    from trainworthy import report
    from trainworthy.report import findings
    from trainworthy.report.estimate_json import render_estimate_json

    found: dict[str, Any] = {
        "schema_version": 1,
        "check": json.loads(findings.render(checked, "json")),
        "rehearsal": json.loads(report.render_json([rehearsed])),
        "estimate": None if estimate is None else json.loads(render_estimate_json([estimate])),
    }
    return json.dumps(found, indent=2, ensure_ascii=False)
