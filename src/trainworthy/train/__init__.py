"""The engine: a recipe says what is trained, this package owns the loop.

Importing it imports no torch; what needs torch is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainworthy.train.recipe import Batch, Loss, LossFunction, Mean, Phase, Quality, Recipe, Schedule, TrainOptions

if TYPE_CHECKING:
    from trainworthy.train.engine import train
    from trainworthy.train.outcome import Outcome
    from trainworthy.train.tools import find_batch_size, learning_rate_range
    from trainworthy.train.typed import TypedModule

__all__ = [
    "Batch",
    "Loss",
    "LossFunction",
    "Mean",
    "Outcome",
    "Phase",
    "Quality",
    "Recipe",
    "Schedule",
    "TrainOptions",
    "TypedModule",
    "find_batch_size",
    "learning_rate_range",
    "train",
]

_HOMES = {
    "Outcome": "outcome",
    "TypedModule": "typed",
    "find_batch_size": "tools",
    "learning_rate_range": "tools",
    "train": "engine",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'trainworthy.train' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"trainworthy.train.{home}"), name)
