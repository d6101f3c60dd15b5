"""Simulated annealing and hill climbing over any neighbourhood: for discrete choices that have no gradient.

Nothing is needed but a cost and a neighbour. The same seed gives the same walk, on every machine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from trainworthy.errors import UsageError

State = TypeVar("State")
Cooling = Callable[[float], float]
"""Share of the steps that are done, 0 to 1, to a temperature in the unit of the cost."""
Stopped = Literal["target", "steps", "patience", "optimum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[State]):
    """What a search found.

    Attributes:
        best: The best state seen at any time, not the last.
        cost: Its cost.
        evaluations: How often a cost was computed, over all restarts.
        accepted: How often a step was taken.
        restart: In which walk it was found, from 0.
        stopped: Why the last walk ended: the ``target`` was reached; its ``steps`` or its ``patience`` were used up; or
            it stood at a local ``optimum``.
    """

    best: State
    cost: float
    evaluations: int
    accepted: int
    restart: int
    stopped: Stopped


def geometric(start: float, end: float) -> Cooling:
    """Cool by a constant factor a step.

    Source:   Kirkpatrick, Gelatt and Vecchi 1983 (Science 220, 671)

    >>> [round(geometric(8.0, 0.5)(share), 3) for share in (0, 0.5, 1)]
    [8.0, 2.0, 0.5]

    Raises:
        UsageError: If a temperature is not above 0.
    """
    if start <= 0 or end <= 0:
        raise UsageError(f"Temperatures are {start} and {end}; a geometric cooling needs both above 0.")
    return lambda done: start * (end / start) ** done


def linear(start: float, end: float = 0.0) -> Cooling:
    """Cool by a constant amount a step.

    >>> [linear(8.0)(share) for share in (0, 0.5, 1)]
    [8.0, 4.0, 0.0]

    Raises:
        UsageError: If a temperature is negative.
    """
    if start < 0 or end < 0:
        raise UsageError(f"Temperatures are {start} and {end}; none may be below 0.")
    return lambda done: start + (end - start) * done


def logarithmic(depth: float, steps: int) -> Cooling:
    """Cool as ``depth / log(step + 2)``: slow enough to find the optimum with certainty, and too slow to wait for.

    Source:   Hajek 1988 (Math. Oper. Res. 13, 311), theorem 1: ``depth`` at least that of the deepest local optimum

    >>> round(logarithmic(1.0, 100)(0.0), 3), round(logarithmic(1.0, 100)(1.0), 3)
    (1.443, 0.216)

    Raises:
        UsageError: If the depth is not above 0.
    """
    if depth <= 0:
        raise UsageError(f"depth is {depth}; it must be above 0.")
    return lambda done: depth / math.log(done * steps + 2)


def acceptance(change: float, temperature: float) -> float:
    """Return the probability with which a step that costs ``change`` more is taken.

    Source:   Metropolis et al. 1953 (J. Chem. Phys. 21, 1087): ``min(1, exp(-change / temperature))``; at 0 only what
              costs no more

    >>> acceptance(-1.0, 2.0), round(acceptance(2.0, 2.0), 4), acceptance(1.0, 0.0)
    (1.0, 0.3679, 0.0)
    """
    if change <= 0:
        return 1.0
    return math.exp(-change / temperature) if temperature > 0 else 0.0


def starting_temperature(
    start: State, *, cost: Callable[[State], float], neighbour: Callable[[State, random.Random], State],
    accept: float = 0.8, samples: int = 100, seed: int = 0,
) -> float:  # fmt: skip
    """Return the temperature at which the mean uphill step of a random walk is taken with probability ``accept``.

    Unit:     of the cost; 0 if no step goes uphill
    Source:   Johnson et al. 1989 (Oper. Res. 37, 865), section 3.2: ``-mean / log(accept)``

    Raises:
        UsageError: If ``accept`` is not between 0 and 1.

    >>> round(starting_temperature(0, cost=float, neighbour=lambda x, rng: x + rng.choice((-1, 1)), accept=0.5), 4)
    1.4427
    """
    if not 0 < accept < 1:
        raise UsageError(f"accept is {accept}; it must be between 0 and 1.")
    rng, here, uphill = random.Random(seed), start, list[float]()
    for _ in range(samples):
        there = neighbour(here, rng)
        change = cost(there) - cost(here)
        uphill += [change] if 0 < change < math.inf else []
        here = there
    return -sum(uphill) / len(uphill) / math.log(accept) if uphill else 0.0


def simulated_annealing(
    start: State | Callable[[random.Random], State], *, cost: Callable[[State], float],
    neighbour: Callable[[State, random.Random], State], cooling: Cooling, steps: int, restarts: int = 0, seed: int = 0,
    target: float = -math.inf, patience: int | None = None,
) -> Found[State]:  # fmt: skip
    """Walk to random neighbours, uphill too with a probability that falls, and return the best state seen.

    The temperature is in the unit of the cost: begin where most steps uphill are taken
    (:func:`starting_temperature`), end where hardly any is. A state must not be changed by ``neighbour``: it returns
    another. A cost of infinity is a state that is never entered.

    Args:
        start: Where to begin; or, called with the random numbers, a new beginning for each walk.
        cost: What is made small.
        neighbour: A random neighbour of a state.
        cooling: Temperature by the share of steps done.
        steps: Steps of each walk.
        restarts: Further walks, each from a start of its own or from the best state so far.
        seed: Of all random numbers.
        target: Stop when the cost is at most this.
        patience: A walk ends after so many steps without a better best of its own; None: never before its steps.

    >>> found = simulated_annealing(
    ...     0,
    ...     cost=lambda x: (x - 7) ** 2,
    ...     neighbour=lambda x, rng: x + rng.choice((-1, 1)),
    ...     cooling=geometric(10.0, 0.1),
    ...     steps=300,
    ...     target=0,
    ... )
    >>> found.best, found.cost, found.stopped
    (7, 0, 'target')

    Raises:
        UsageError: If ``steps`` is below 1 or ``restarts`` below 0.
    """
    _check_counts(steps=steps, restarts=restarts)
    search = _Search(cost=cost, target=target, seed=seed, start=start)

    def walk() -> Stopped:
        here, price = search.begin()
        lowest, waited = price, 0
        for step in range(steps):
            if search.reached:
                return "target"
            if patience is not None and waited >= patience:
                return "patience"
            there = neighbour(here, search.rng)
            new_price = search.evaluate(there)
            # Drawn in every step, so that the walk does not depend on how the costs round.
            draw = search.rng.random()
            if new_price < math.inf and draw < acceptance(new_price - price, cooling(step / max(1, steps - 1))):
                here, price = there, new_price
                search.accepted += 1
            waited = 0 if new_price < lowest else waited + 1
            lowest = min(lowest, new_price)
        return "steps"

    return search.run(walk, restarts)


def hill_climbing(
    start: State | Callable[[random.Random], State], *, cost: Callable[[State], float],
    neighbours: Callable[[State], Iterable[State]], choice: Literal["best", "first"] = "best", steps: int = 10_000,
    restarts: int = 0, seed: int = 0, target: float = -math.inf,
) -> Found[State]:  # fmt: skip
    """Go downhill until no neighbour is better; from several beginnings, for each ends at the nearest local optimum.

    Args:
        start: Where to begin; or, called with the random numbers, a new beginning for each walk. One beginning makes
            every restart the same, so ``restarts`` needs a function.
        cost: What is made small.
        neighbours: All neighbours of a state.
        choice: Step to the ``best`` neighbour, or to the ``first`` that is better.
        steps: Most steps of each walk.
        restarts: Further walks.
        seed: Of the beginnings.
        target: Stop when the cost is at most this.

    >>> hill_climbing(0, cost=lambda x: abs(x - 3), neighbours=lambda x: (x - 1, x + 1)).best
    3

    Raises:
        UsageError: If ``steps`` is below 1, ``restarts`` below 0, or there are restarts from one beginning.
    """
    _check_counts(steps=steps, restarts=restarts)
    if restarts and not callable(start):
        raise UsageError("Restarts from one beginning are all the same walk.", fix="Give a function as start.")
    search = _Search(cost=cost, target=target, seed=seed, start=start)

    def walk() -> Stopped:
        here, price = search.begin()
        for _ in range(steps):
            if search.reached:
                return "target"
            better = (here, price)
            for there in neighbours(here):
                new_price = search.evaluate(there)
                if new_price < better[1]:
                    better = (there, new_price)
                    if choice == "first":
                        break
            if better[1] == price:
                return "optimum"
            here, price = better
            search.accepted += 1
        return "steps"

    return search.run(walk, restarts)


class _Search(Generic[State]):
    """The best so far, the counts and the random numbers of a search."""

    def __init__(
        self, *, cost: Callable[[State], float], target: float, seed: int,
        start: State | Callable[[random.Random], State],
    ) -> None:  # fmt: skip
        self.cost, self.target, self.rng, self.start = cost, target, random.Random(seed), start
        self.best: tuple[State, float] | None = None
        self.evaluations = self.accepted = self.walk = self.restart = 0

    @property
    def reached(self) -> bool:
        return self.best is not None and self.best[1] <= self.target

    def begin(self) -> tuple[State, float]:
        if callable(self.start):
            state: State = self.start(self.rng)
        elif self.best is not None:
            return self.best
        else:
            state = self.start
        return state, self.evaluate(state)

    def evaluate(self, state: State) -> float:
        price = self.cost(state)
        self.evaluations += 1
        if math.isnan(price):
            raise UsageError(f"The cost of {state!r} is NaN.", fix="Give infinity for what is not allowed.")
        if self.best is None or price < self.best[1]:
            self.best, self.restart = (state, price), self.walk
        return price

    def run(self, walk: Callable[[], Stopped], restarts: int) -> Found[State]:
        """Walk until the target is reached or the restarts are used up."""
        stopped = walk()
        while self.walk < restarts and not self.reached:
            self.walk += 1
            stopped = walk()
        if self.best is None:
            raise AssertionError("a walk evaluates its beginning first")
        return Found(
            best=self.best[0], cost=self.best[1], evaluations=self.evaluations, accepted=self.accepted,
            restart=self.restart, stopped="target" if self.reached else stopped,
        )  # fmt: skip


def _check_counts(*, steps: int, restarts: int) -> None:
    if steps < 1 or restarts < 0:
        raise UsageError(f"steps is {steps} and restarts is {restarts}; they must be at least 1 and 0.")
