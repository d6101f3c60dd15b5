"""Questions about a recipe that a few real steps answer: which learning rate, and how large a batch."""

from __future__ import annotations

import gc
import itertools
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.engine import train
from trainworthy.train.journal import read_rows
from trainworthy.train.recipe import Phase, Recipe

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

_SMOOTHING = 0.8  # weight of the past in the average by which the curve is read


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRange:
    """The loss while the learning rate rises.

    Attributes:
        rates: Learning rate of the first group in each step.
        losses: The loss of that step, before the rate was applied; it ends where the loss was not finite.
        steepest: The rate at which the smoothed loss fell fastest: a good first choice. None: it never fell.
        lowest: The rate at which it was lowest: too high already, a tenth of it is the usual choice.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    steepest: float | None
    lowest: float


def learning_rate_range(recipe: Recipe, *, low: float = 1e-6, high: float = 1.0, steps: int = 100) -> RateRange:
    """Train from the initial weights while the learning rate of the first phase rises from ``low`` to ``high``.

    It rises by the same factor in each step. Other phases keep theirs. Nothing of the run is kept.

    Source: Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.

    Raises:
        UsageError: The range is empty.
        TrainError: The loss is not finite in the first step already.
    """
    if not 0 < low < high or steps < 2:
        raise UsageError(f"low is {low:g}, high {high:g}, steps {steps}; it must be 0 < low < high and steps >= 2.")
    phase = _rising(recipe.phases[0], low, high, steps)
    options = replace(
        recipe.options, steps=steps, log_every=1, checkpoint_every=0, evaluate_every=0, ema_decay=None,
        tensorboard=False, profile_steps=None, resume="auto", overfit_batches=0,
    )  # fmt: skip
    shorter = replace(
        recipe, phases=(phase, *recipe.phases[1:]), options=options, validation_data=None, finish=None, quality=None
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(shorter, folder=Path(folder), quiet=True)
        except TrainError:  # too high a rate: what came before is the answer
            if not read_rows(Path(folder)):
                raise
        rows = [row for row in read_rows(Path(folder)) if row["kind"] == "train"]
    prefix = f"{phase.name}/" if len(recipe.phases) > 1 else ""
    rates, losses = [row[f"{prefix}lr"] for row in rows], [float(row[f"{prefix}loss"]) for row in rows]
    smooth = _smoothed(losses)
    slopes = [after - before for before, after in itertools.pairwise(smooth)]
    steepest = min(range(len(slopes)), key=slopes.__getitem__, default=0)
    return RateRange(
        rates=rates,
        losses=losses,
        steepest=rates[steepest] if slopes and slopes[steepest] < 0 else None,
        lowest=rates[min(range(len(smooth)), key=smooth.__getitem__)],
    )


def find_batch_size(recipe: Recipe, *, start: int) -> int:
    """Return the largest of ``start``, ``start`` / 2, ... samples with which one process can take two real steps.

    Two, because the optimizer's state is made in the first. A good start is what an estimate of the memory says.

    Args:
        recipe: What to train.
        start: Samples to begin with.

    Raises:
        TrainError: Not even one sample fits.
        UsageError: There are several ranks, of which one alone would run out of memory and leave the others waiting.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise UsageError("A batch size is found by one process alone.", fix="Run it without torchrun.")
    size = start
    while size >= 1:
        if _fits(recipe, size):
            return size
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size //= 2
    raise TrainError("Not even one sample fits into the memory of the device.", where="find_batch_size")


def _fits(recipe: Recipe, size: int) -> bool:
    options = replace(
        recipe.options, steps=2, batch_size=size, micro_batch_size=None, checkpoint_every=0, evaluate_every=0,
        tensorboard=False, profile_steps=None, resume="auto", workers=0,
    )  # fmt: skip
    shorter = replace(recipe, options=options, validation_data=None, finish=None, quality=None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(shorter, folder=Path(folder), quiet=True)
        except (torch.OutOfMemoryError, MemoryError):
            return False
        except RuntimeError as error:  # torch's allocator for CPUs has no type of its own
            if "not enough memory" not in str(error):
                raise
            return False
    return True


def _rising(phase: Phase, low: float, high: float, steps: int) -> Phase:
    """Return the phase with a schedule that has the first group's rate rise; groups keep their proportions."""
    base = [math.nan]

    def optimizer(named: list[tuple[str, nn.Parameter]]) -> Optimizer:
        made: Any = phase.optimizer(named)
        base[0] = float(made.param_groups[0]["lr"])
        if base[0] <= 0:
            raise UsageError(f"The learning rate of the recipe is {base[0]:g}; it must be positive to be scaled.")
        return made  # type: ignore[no-any-return]

    def schedule(step: int, _steps: int) -> float:
        return float(low * (high / low) ** (step / (steps - 1)) / base[0])

    return replace(phase, optimizer=optimizer, schedule=schedule)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Return the running average, corrected for its start at 0 (as Adam's)."""
    smooth, average = [], 0.0
    for place, value in enumerate(values, 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * value
        smooth.append(average / (1 - _SMOOTHING**place))
    return smooth
