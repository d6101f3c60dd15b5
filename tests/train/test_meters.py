from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.train.meters import Meters

entries = st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 50)), min_size=1, max_size=30)


@given(values=entries)
def test_is_the_weighted_mean(values: list[tuple[float, int]]) -> None:
    meters = Meters()
    for place, (total, weight) in enumerate(values):
        meters.add("loss", torch.tensor(total, dtype=torch.float64) if place % 2 else total, weight)
    found = meters.read()["loss"]
    weight = sum(each for _, each in values)
    assert found == pytest.approx(sum(each for each, _ in values) / weight) if weight else math.isnan(found)
    assert meters.read() == {}


def test_nan_is_said() -> None:
    meters = Meters()
    meters.add("loss", 1.0, 1)
    meters.add("loss", torch.tensor(math.nan), 1)
    assert math.isnan(meters.read()["loss"])


@given(values=entries, cut=st.integers(0, 30))
def test_a_window_goes_on_to_the_last_bit(values: list[tuple[float, int]], cut: int) -> None:
    whole, first, second = Meters(), Meters(), Meters()
    for place, (total, weight) in enumerate(values):
        whole.add("loss", total, weight)
        if place == cut:
            second.load_state(first.state(), counts=True)
        (first if place < cut else second).add("loss", total, weight)
    if cut >= len(values):
        second.load_state(first.state(), counts=True)
    own, other = second.read(), whole.read()
    assert own == other or math.isnan(own["loss"])


def test_ranks_are_joined_by_one_sum() -> None:
    one, other, alone = Meters(), Meters(), Meters()
    calls = []
    one.add("a", 3.0, 2)
    one.add("b", 1.0, 1)
    other.add("a", 5.0, 6)
    other.add("b", 0.0, 0)
    theirs = torch.cat(list(other.state().values()), dim=1)

    def reduce(table: torch.Tensor) -> torch.Tensor:
        calls.append(table.shape)
        return table + theirs

    assert one.read(reduce) == {"a": 1.0, "b": 1.0}
    assert calls == [(2, 2)]
    assert alone.read(reduce) == {}  # nothing to say, nothing exchanged: the same on all ranks


def test_a_long_window_stays_small() -> None:
    meters = Meters()
    for _ in range(5000):
        meters.add("loss", 1.0, 2)
    assert meters.state()["loss"].shape[1] < 1100
    assert meters.read()["loss"] == 0.5


def test_only_one_rank_counts_what_was_saved() -> None:
    saved, one, other = Meters(), Meters(), Meters()
    saved.add("loss", 6.0, 2)
    one.load_state(saved.state(), counts=True)
    other.load_state(saved.state(), counts=False)
    assert one.state()["loss"].tolist() == [[6.0], [2.0]]
    assert other.state()["loss"].tolist() == [[0.0], [0.0]]
