"""Learning-rate schedules: the factor on the learning rate of step ``step`` (from 0) of ``steps`` in all.

A schedule is a function of the step alone, so a resumed run needs no state of it. :class:`Plateau` is the exception:
it depends on what evaluations found, and its state is kept in the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from trainworthy.errors import UsageError
from trainworthy.train.recipe import Schedule


@runtime_checkable
class Observing(Protocol):
    """A schedule that looks at the metric of each evaluation (``TrainOptions.best_metric``)."""

    def observe(self, value: float) -> None:
        """Take notice of the metric of an evaluation."""
        ...

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run needs."""
        ...

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up where another left off."""
        ...


def observing(schedule: Any) -> Observing | None:
    """Return the schedule if it looks at evaluations, else None."""
    return schedule if isinstance(schedule, Observing) else None


def constant(*, warmup: int = 0) -> Schedule:
    """Rise linearly over ``warmup`` steps, then stay at 1.

    >>> [constant(warmup=2)(step, 4) for step in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    return _after_warmup(warmup, lambda _progress: 1.0)


def cosine(*, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Rise over ``warmup`` steps, then fall along half a cosine to ``floor``, which the step after the last would have.

    Source: Loshchilov and Hutter, SGDR (2017), equation 5, without restarts.

    >>> [round(cosine()(step, 4), 3) for step in range(4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    return _after_warmup(warmup, lambda progress: floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


def linear(*, warmup: int = 0, floor: float = 0.0) -> Schedule:
    """Rise over ``warmup`` steps, then fall linearly to ``floor``, which the step after the last would have.

    >>> [linear()(step, 4) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    return _after_warmup(warmup, lambda progress: 1 - (1 - floor) * progress)


def wsd(*, warmup: int = 0, decay: float = 0.2, floor: float = 0.0) -> Schedule:
    """Warm-up, stable, decay: stay at 1 until the last share ``decay`` of all steps, then fall linearly to ``floor``.

    Source: Hu et al., MiniCPM (2024), section 4.

    >>> [round(wsd(decay=0.5)(step, 8), 2) for step in range(8)]
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    _check_share("decay", decay)

    def factor(step: int, steps: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        start = steps - max(1, round(decay * steps))
        return 1.0 if step <= start else 1 - (1 - floor) * (step - start) / (steps - start)

    return factor


def step(*, at: Sequence[float], factor: float = 0.1, warmup: int = 0) -> Schedule:
    """Multiply by ``factor`` at each of ``at``: steps, or shares of all steps where smaller than 1.

    >>> [step(at=[0.5, 3], factor=0.5)(each, 4) for each in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """
    if list(at) != sorted(at) or any(place <= 0 for place in at):
        raise UsageError(f"at is {list(at)}; it must be positive numbers in rising order.", where="schedules.step")

    def value(now: int, steps: int) -> float:
        if now < warmup:
            return (now + 1) / warmup
        return float(factor ** sum(now >= (place * steps if place < 1 else place) for place in at))

    return value


@dataclass(slots=True, kw_only=True)
class Plateau:
    """Multiply by ``factor`` when ``patience`` evaluations in a row were no better than the best before them.

    Better means: by more than the share ``threshold`` of the best.

    >>> falls = Plateau(patience=2, factor=0.5)
    >>> for value in [1.0, 0.9, 0.95, 0.92]:
    ...     falls.observe(value)
    >>> falls(step=0, steps=1)
    0.5
    """

    patience: int = 3
    factor: float = 0.1
    floor: float = 0.0
    threshold: float = 1e-4
    better: Literal["lowest", "highest"] = "lowest"
    warmup: int = 0
    _best: float = field(default=math.nan, init=False)
    _bad: int = field(default=0, init=False)
    _value: float = field(default=1.0, init=False)

    def __call__(self, step: int, steps: int) -> float:
        """Return the factor of now; ``steps`` is of no importance."""
        return self._value if step >= self.warmup else self._value * (step + 1) / self.warmup

    def observe(self, value: float) -> None:
        """Take notice of the metric of an evaluation."""
        margin = self.threshold * abs(self._best)
        gain = self._best - value if self.better == "lowest" else value - self._best
        if math.isnan(self._best) or gain > margin:
            self._best, self._bad = value, 0
            return
        self._bad += 1
        if self._bad >= self.patience:
            self._value, self._bad = max(self.floor, self._value * self.factor), 0

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed run needs."""
        return {"best": self._best, "bad": self._bad, "value": self._value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up where another left off."""
        self._best, self._bad, self._value = state["best"], int(state["bad"]), state["value"]


def plateau(
    *,
    patience: int = 3,
    factor: float = 0.1,
    floor: float = 0.0,
    better: Literal["lowest", "highest"] = "lowest",
    warmup: int = 0,
) -> Schedule:
    """Return a :class:`Plateau`."""
    return Plateau(patience=patience, factor=factor, floor=floor, better=better, warmup=warmup)


def _after_warmup(warmup: int, shape: Callable[[float], float]) -> Schedule:
    """Rise linearly to 1 in step ``warmup - 1``, then follow ``shape`` of the progress from 0 to (nearly) 1."""
    if warmup < 0:
        raise UsageError(f"warmup is {warmup}; it must be 0 or more steps.", where="schedules")

    def factor(step: int, steps: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return shape(min(1.0, (step - warmup) / max(1, steps - warmup)))

    return factor


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UsageError(f"{name} is {value}; it must be above 0 and at most 1.", where="schedules")
