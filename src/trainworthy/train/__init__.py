"""The engine: a recipe says what is trained, this package owns the loop.

Importing it imports no torch; every name is loaded when it is first used.
"""

from __future__ import annotations

from trainworthy.train.recipe import Batch, Loss, LossFunction, Mean, Phase, Quality, Recipe, Schedule, TrainOptions

__all__ = ["Batch", "Loss", "LossFunction", "Mean", "Phase", "Quality", "Recipe", "Schedule", "TrainOptions"]
