"""How a run ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainworthy.errors import TrainError
from trainworthy.train.recipe import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: Where it wrote.
        step: Optimizer steps done.
        epoch: Epochs begun.
        stopped_by: ``"end"``, ``"early stopping"``, ``"the time limit"``, or the name of a signal.
        metrics: The last evaluation; empty if there was none.
        best: The best evaluation with its ``step``; empty if there was none.
        results: What ``Recipe.finish`` returned; empty if the run did not come to its end.
        quality_met: Whether the recipe's stated quality was reached; None: it states none, or the run did not end.
        exit_code: What a command leaves with: 0; 143 after a signal or the time limit (start again to go on).
        resumed_from: The checkpoint from which it went on; None: it began anew.
    """

    folder: Path
    step: int
    epoch: int
    stopped_by: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    best: Mapping[str, float] = field(default_factory=dict)
    results: Mapping[str, float] = field(default_factory=dict)
    quality_met: bool | None = None
    exit_code: int = 0
    resumed_from: Path | None = None


@dataclass(slots=True)
class Best:
    """The best evaluation so far, and how many have come since.

    Attributes:
        metric: Which number counts.
        highest: Whether larger is better.
        value: The best; None: there was no evaluation.
        step: When.
        since: Evaluations since then.
        metrics: All numbers of that evaluation.
    """

    metric: str
    highest: bool
    value: float | None = None
    step: int = 0
    since: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def take(self, metrics: Mapping[str, float], step: int) -> bool:
        """Take an evaluation; return whether it is the best. NaN never is.

        Raises:
            TrainError: The evaluation has no such metric.
        """
        if self.metric not in metrics:
            raise TrainError(
                f"The evaluation has no metric {self.metric!r}. It has: {', '.join(sorted(metrics))}.",
                where="train.best_metric",
            )
        value = metrics[self.metric]
        gain = math.inf if self.value is None else value - self.value if self.highest else self.value - value
        better = gain > 0 and not math.isnan(value)
        if better:
            self.value, self.step, self.since, self.metrics = value, step, 0, dict(metrics)
        else:
            self.since += 1
        return better

    def state_dict(self) -> dict[str, object]:
        """Return what a resumed run needs."""
        return {"value": self.value, "step": self.step, "since": self.since, "metrics": dict(self.metrics)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take up where another left off."""
        for name, value in state.items():
            setattr(self, name, value)


def quality_met(quality: Quality | None, numbers: Mapping[str, float]) -> bool | None:
    """Return whether a stated quality is reached; None if none is stated.

    Raises:
        TrainError: There is no such number.
    """
    if quality is None:
        return None
    if quality.metric not in numbers:
        raise TrainError(
            f"The stated quality is about {quality.metric!r}. There is: {', '.join(sorted(numbers)) or 'nothing'}.",
            where="Recipe.quality",
        )
    value = numbers[quality.metric]
    above = quality.at_least is None or value >= quality.at_least
    below = quality.at_most is None or value <= quality.at_most
    return above and below
