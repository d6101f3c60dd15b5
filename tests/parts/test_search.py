"""Searches: known optima, the law of acceptance, the same walk by seed, and every reason to stop."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.parts.search import (
    acceptance,
    geometric,
    hill_climbing,
    linear,
    logarithmic,
    simulated_annealing,
    starting_temperature,
)

Queens = tuple[int, ...]


def attacks(rows: Queens) -> float:
    """Count pairs of queens on a diagonal; columns and rows differ by construction."""
    pairs = itertools.combinations(enumerate(rows), 2)
    return sum(abs(a - b) == abs(x - y) for (a, x), (b, y) in pairs)


def exchanged(order: Queens, rng: random.Random) -> Queens:
    one, other = rng.sample(range(len(order)), 2)
    row = list(order)
    row[one], row[other] = row[other], row[one]
    return tuple(row)


def all_exchanged(order: Queens) -> list[Queens]:
    found = []
    for one, other in itertools.combinations(range(len(order)), 2):
        row = list(order)
        row[one], row[other] = row[other], row[one]
        found.append(tuple(row))
    return found


def shuffled(rng: random.Random) -> Queens:
    return tuple(rng.sample(range(8), 8))


@pytest.mark.parametrize("seed", range(5))
def test_annealing_places_eight_queens(seed: int) -> None:
    found = simulated_annealing(
        tuple(range(8)), cost=attacks, neighbour=exchanged, cooling=geometric(3.0, 0.1), steps=2000, restarts=3,
        seed=seed, target=0,
    )  # fmt: skip
    assert found.stopped == "target"
    assert attacks(found.best) == found.cost == 0


def test_climbing_with_restarts_places_eight_queens_where_one_climb_gets_stuck() -> None:
    once = [hill_climbing(shuffled, cost=attacks, neighbours=all_exchanged, seed=seed) for seed in range(10)]
    assert any(found.stopped == "optimum" and found.cost > 0 for found in once)
    choices: tuple[Literal["best", "first"], ...] = ("best", "first")
    for choice in choices:
        found = hill_climbing(
            shuffled, cost=attacks, neighbours=all_exchanged, restarts=50, target=0, choice=choice
        )  # fmt: skip
        assert found.cost == 0
        assert found.stopped == "target"


@pytest.mark.parametrize("seed", range(3))
def test_annealing_finds_the_shortest_tour_of_all(seed: int) -> None:
    rng = random.Random(seed)
    towns = [(rng.random(), rng.random()) for _ in range(8)]

    def length(tour: Queens) -> float:
        return sum(math.dist(towns[a], towns[b]) for a, b in itertools.pairwise((*tour, tour[0])))

    def reversed_part(tour: Queens, rng: random.Random) -> Queens:
        low, high = sorted(rng.sample(range(len(tour) + 1), 2))
        return (*tour[:low], *tour[low:high][::-1], *tour[high:])

    shortest = min(length((0, *order)) for order in itertools.permutations(range(1, 8)))
    warm = starting_temperature(tuple(range(8)), cost=length, neighbour=reversed_part)
    found = simulated_annealing(
        tuple(range(8)), cost=length, neighbour=reversed_part, cooling=geometric(warm, warm / 300), steps=4000,
        restarts=1,
    )  # fmt: skip
    assert found.cost == pytest.approx(shortest)


def test_at_one_temperature_states_are_visited_as_boltzmann_says() -> None:
    costs, visits, temperature = [0.0, 1.0, 0.5, 2.0], Counter[int](), 0.8

    def neighbour(state: int, rng: random.Random) -> int:
        visits[state] += 1  # asked once in each step, of where the walk is
        return (state + rng.choice((-1, 1))) % 4

    simulated_annealing(0, cost=costs.__getitem__, neighbour=neighbour, cooling=lambda _: temperature, steps=60_000)
    weights = [math.exp(-cost / temperature) for cost in costs]
    for state, weight in enumerate(weights):
        assert visits[state] / 60_000 == pytest.approx(weight / sum(weights), abs=0.01)


@given(change=st.floats(-10, 10), temperature=st.floats(0.1, 10))
def test_acceptance_keeps_detailed_balance(change: float, temperature: float) -> None:
    there, back = acceptance(change, temperature), acceptance(-change, temperature)
    assert there == pytest.approx(back * math.exp(-change / temperature), rel=1e-9)
    assert max(there, back) == 1
    assert acceptance(abs(change) + 1e-9, 0.0) == 0


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_the_same_seed_is_the_same_walk(seed: int) -> None:
    runs = [
        simulated_annealing(shuffled, cost=attacks, neighbour=exchanged, cooling=linear(2.0), steps=50, seed=seed)
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0].evaluations == 51


def test_the_best_is_kept_though_the_walk_goes_on() -> None:
    seen: list[float] = []

    def cost(x: int) -> float:
        seen.append(math.sin(x * 1.7) + x / 50)
        return seen[-1]

    found = simulated_annealing(
        0, cost=cost, neighbour=lambda x, rng: x + rng.choice((-1, 1)), cooling=lambda _: 5.0, steps=400, seed=1
    )
    assert found.cost == min(seen)
    assert found.stopped == "steps"
    assert seen[-1] > found.cost


def test_a_temperature_of_zero_never_goes_uphill_and_patience_ends_it() -> None:
    walked: list[int] = []

    def neighbour(x: int, rng: random.Random) -> int:
        walked.append(x)
        return x + rng.choice((-1, 1))

    found = simulated_annealing(20, cost=abs, neighbour=neighbour, cooling=lambda _: 0.0, steps=5000, patience=30)
    assert (found.best, found.stopped) == (0, "patience")
    assert all(abs(later) <= abs(sooner) for sooner, later in itertools.pairwise(walked))
    assert found.evaluations < 500


def test_infinity_is_a_wall() -> None:
    entered: set[int] = set()

    def neighbour(x: int, rng: random.Random) -> int:
        entered.add(x)
        return x + rng.choice((-1, 1))

    simulated_annealing(
        0, cost=lambda x: math.inf if x in (-3, 4) else 0.0, neighbour=neighbour, cooling=lambda _: 1e9, steps=2000
    )
    assert entered == set(range(-2, 4))


def test_restarts_from_the_best_and_climbs_that_end() -> None:
    found = simulated_annealing(
        30, cost=abs, neighbour=lambda x, rng: x + rng.choice((-1, 1)), cooling=lambda _: 0.0, steps=25,
        restarts=9,
    )  # fmt: skip
    assert found.cost == 0  # one walk of 25 steps cannot get there
    assert found.restart > 0
    assert hill_climbing(9, cost=abs, neighbours=lambda x: (x - 1, x + 1), steps=4).stopped == "steps"
    assert hill_climbing(9, cost=abs, neighbours=lambda x: (x - 1, x + 1), target=5).best == 5


def test_the_first_temperature_accepts_what_was_asked() -> None:
    def neighbour(x: int, rng: random.Random) -> int:
        return x + rng.choice((-2, 2))

    warm = starting_temperature(0, cost=float, neighbour=neighbour, accept=0.7)
    assert acceptance(2.0, warm) == pytest.approx(0.7)
    assert starting_temperature(0, cost=lambda _: 1.0, neighbour=neighbour) == 0.0


@given(start=st.floats(0.1, 100), end=st.floats(0.01, 0.1))
def test_coolings_begin_and_end_where_they_say_and_fall(start: float, end: float) -> None:
    for cooling in (geometric(start, end), linear(start, end)):
        assert cooling(0.0) == pytest.approx(start)
        assert cooling(1.0) == pytest.approx(end)
        values = [cooling(share / 10) for share in range(11)]
        assert all(later <= sooner + 1e-12 for sooner, later in itertools.pairwise(values))
    assert logarithmic(start, 100)(0.98) == pytest.approx(start / math.log(100))


def test_mistakes_are_said() -> None:
    with pytest.raises(UsageError, match=r"Temperatures are 0\.0 and 1\.0"):
        geometric(0.0, 1.0)
    with pytest.raises(UsageError, match="none may be below 0"):
        linear(-1.0)
    with pytest.raises(UsageError, match=r"depth is 0\.0"):
        logarithmic(0.0, 1)
    with pytest.raises(UsageError, match=r"accept is 1\.0"):
        starting_temperature(0, cost=float, neighbour=lambda x, _: x, accept=1.0)
    with pytest.raises(UsageError, match="steps is 0"):
        hill_climbing(0, cost=abs, neighbours=lambda x: (), steps=0)
    with pytest.raises(UsageError, match="all the same walk"):
        hill_climbing(0, cost=abs, neighbours=lambda x: (), restarts=1)
    with pytest.raises(UsageError, match="cost of 0 is NaN"):
        hill_climbing(0, cost=lambda _: math.nan, neighbours=lambda x: ())
