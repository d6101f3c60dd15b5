"""``trainworthy.train``: a recipe with its settings, run in a folder of its own; guard and report are added here."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy._api.need_torch import need_torch
from trainworthy._api.train_utilisation import UNKNOWN, Utilisation, utilisation
from trainworthy.errors import UsageError
from trainworthy.train.config import Resolved, resolve
from trainworthy.train.find_recipe import find_recipe
from trainworthy.train.recipe import Recipe
from trainworthy.train.run_folder import METRICS, prepare

if TYPE_CHECKING:
    from trainworthy.report.train_report import RunFacts

__all__ = ["TrainResult", "default_folder", "settle", "train", "train_resolved"]


@dataclasses.dataclass(frozen=True, slots=True)
class TrainResult:
    """A run at its end.

    Attributes:
        facts: What came out: metrics, results, the stated quality, what the guard found.
        exit_code: 0: fine; 1: the stated quality is not met; 143: stopped by a signal, to be started again.
    """

    facts: RunFacts
    exit_code: int

    def __str__(self) -> str:
        """Return what the command prints."""
        from trainworthy.report.train_report import render_run_text

        return render_run_text(self.facts)

    @property
    def metrics(self) -> dict[str, float]:
        """The last evaluation, and what the recipe worked out at the end."""
        return {**self.facts.metrics, **self.facts.results}


def train(
    recipe: str | Path | Recipe,
    *settings: str,
    output: str | Path | None = None,
    config: str | Path | None = None,
) -> TrainResult:
    """Train a recipe; the same as ``trainworthy train RECIPE key=value ...``.

    >>> train("digits", "lr=0.01", "train.epochs=5", output="runs/first").metrics  # doctest: +SKIP

    Args:
        recipe: The name of an included recipe, ``my_recipe.py``, ``my_recipe.py:function``, or a ``Recipe``.
        *settings: ``key=value``, as on the command line; none with a ``Recipe``, which holds its own.
        output: The folder of the run; default: ``runs/NAME``. A run that is in it goes on from its newest checkpoint.
        config: YAML of settings, such as ``config.yaml`` of another run.

    Raises:
        ConfigError: If a setting is wrong, or the folder holds another run.
        TrainError: If the training itself cannot go on, such as with a loss that is not finite.
    """
    need_torch("Training")
    if isinstance(recipe, Recipe):
        if settings or config:
            raise UsageError(
                "Settings are for recipes by name or file; this one is made already.",
                fix="Give them to the function that makes the recipe.",
            )
        if recipe.options.mfu:
            raise UsageError(
                "train.mfu rehearses a recipe by name or file; this one is made already.",
                fix="trainworthy.train.train(recipe, folder=..., flops_per_step=..., peak_flops_per_s=...).",
            )
        return _run(recipe, name="recipe", folder=Path(output if output is not None else "runs/recipe"), values={})
    resolved = settle(str(recipe), settings, config=config)
    words = [str(recipe), *settings]
    speed = utilisation(resolved.recipe.options, words, config=None if config is None else str(config))
    return train_resolved(resolved, output=output, words=words, speed=speed)


def settle(recipe: str, settings: Sequence[str], *, config: str | Path | None = None) -> Resolved:
    """Find a recipe and resolve its settings; see ``train``."""
    need_torch("Training")
    return resolve(find_recipe(recipe), file=config, words=settings)


def default_folder(recipe: str) -> Path:
    """Return the folder of a recipe's runs.

    >>> default_folder("my/recipe.py:small").as_posix()
    'runs/recipe-small'
    """
    path, _, function = recipe.partition(":")
    return Path("runs") / "-".join(filter(None, [Path(path).stem, function]))


def train_resolved(
    resolved: Resolved, *, output: str | Path | None, words: Sequence[str], speed: Utilisation = UNKNOWN
) -> TrainResult:
    """Prepare the folder on rank 0 and train; every rank calls it.

    Args:
        resolved: The recipe with its settings.
        output: The folder of the run; None: ``runs/NAME``.
        words: The command line, for the record.
        speed: What the utilisation is worked out from.
    """
    folder = Path(output) if output is not None else default_folder(resolved.source.name)
    if is_main():
        ranks = int(os.environ.get("WORLD_SIZE", "1"))
        warning = prepare(folder, resolved, words=words, ranks=ranks)
        if warning is not None:
            sys.stderr.write(f"trainworthy: {warning}\n")
    values = dict(resolved.settings)
    return _run(resolved.recipe, name=resolved.source.name, folder=folder, values=values, speed=speed)


def is_main() -> bool:
    """Whether this process is the one that prints and writes; known before ranks have met."""
    return os.environ.get("RANK", "0") == "0"


def _run(
    recipe: Recipe, *, name: str, folder: Path, values: dict[str, Any], speed: Utilisation = UNKNOWN
) -> TrainResult:
    from trainworthy.report.train_report import RunFacts
    from trainworthy.train.engine import train as run_engine

    started = time.monotonic()
    guarding = _Guarding(recipe.options.guard_steps)
    outcome = run_engine(
        recipe, folder=folder, watchers=guarding.watchers, flops_per_step=speed.flops_per_step,
        peak_flops_per_s=speed.peak_flops_per_s,
    )  # fmt: skip
    quality = recipe.quality
    facts = RunFacts(
        recipe=name, folder=folder, step=outcome.step, epoch=outcome.epoch, stopped_by=outcome.stopped_by,
        seconds=time.monotonic() - started, metrics=outcome.metrics, results=outcome.results,
        quality=None if quality is None else (quality.metric, quality.at_least, quality.at_most),
        quality_met=outcome.quality_met, findings=guarding.findings, settings=values,
    )  # fmt: skip
    if is_main():
        _write_report(facts, folder)
    return TrainResult(facts, outcome.exit_code or int(outcome.quality_met is False))


def _write_report(facts: RunFacts, folder: Path) -> None:
    from trainworthy.report.train_report import read_metrics, render_run_html, render_run_markdown

    rows = read_metrics(folder / METRICS)
    try:
        (folder / "report.md").write_text(render_run_markdown(facts, rows), encoding="utf-8")
        (folder / "report.html").write_text(render_run_html(facts, rows), encoding="utf-8")
    except OSError as error:  # the run itself is done and saved
        sys.stderr.write(f"trainworthy: the report was not written: {error.strerror} ({folder}).\n")


class _Guarding:
    """The live checks of ``trainworthy check`` on the first steps, if the run's options ask for them."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._guard: Any = None

    @property
    def watchers(self) -> tuple[Any, ...]:
        """What the engine enters before the first step and leaves after the last."""
        return (self._watch,) if self._steps else ()

    def _watch(self, model: Any, optimizers: Sequence[Any]) -> Any:
        from trainworthy._api.guard import guard

        # Each phase's optimizer steps once in a step, and the guard counts these.
        self._guard = guard(model, *optimizers, steps=self._steps * len(optimizers))
        return self._guard

    @property
    def findings(self) -> tuple[Any, ...]:
        return self._guard.findings if self._guard is not None else ()
