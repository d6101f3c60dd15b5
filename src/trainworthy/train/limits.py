"""Which values the options of a run may have, beside their types."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Final

from trainworthy.train.recipe import TrainOptions
from trainworthy.train.schema import OPTIONS, ConfigError, shown


def _from(lowest: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value >= lowest, f"at least {lowest}"


def _is_window(value: str) -> bool:
    found = re.fullmatch(r"(\d+):(\d+)", value)
    return found is not None and int(found[1]) < int(found[2])


_LIMITS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(("steps", "epochs", "batch_size", "micro_batch_size", "keep_checkpoints"), _from(1)),
    **dict.fromkeys(("tensor_parallel", "pipeline_parallel", "log_every", "early_stopping_patience"), _from(1)),
    **dict.fromkeys(("evaluate_every", "checkpoint_every", "workers", "overfit_batches", "guard_steps"), _from(0)),
    "seed": (lambda value: 0 <= value < 2**63, "from 0 to 2^63 - 1"),
    "ema_decay": (lambda value: 0 < value < 1, "above 0 and below 1"),
    "log_every_s": (lambda value: value > 0, "above 0"),
    "max_time_s": (lambda value: value > 0, "above 0"),
    "profile_steps": (_is_window, "FROM:TO with FROM below TO, such as 10:15"),
    "device": (
        lambda value: re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d+)?", value) is not None,
        "auto, cpu, mps, cuda, cuda:0, xpu or xpu:0",
    ),
    "best_metric": (lambda value: bool(value.strip()), "the name of a metric"),
    "resume": (lambda value: bool(value.strip()), "auto, never or the path of a checkpoint"),
}


def check_options(options: TrainOptions) -> TrainOptions:
    """Return the options if each has a value that it can have.

    Raises:
        ConfigError: If one has not; the message names it.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        fits, words = _LIMITS.get(field.name, (None, ""))
        if fits is not None and value is not None and not fits(value):
            raise ConfigError(f"{OPTIONS}.{field.name} is {shown(value)}; it must be {words}.")
    micro, batch = options.micro_batch_size, options.batch_size
    if micro is not None and micro > batch:
        raise ConfigError(
            f"{OPTIONS}.micro_batch_size is {micro}; it must be at most {OPTIONS}.batch_size, which is {batch}."
        )
    return options
