"""Groups share a budget on a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from trainworthy.calibrate.schedule import Group, take_turns


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _calls(count: int, seconds: float) -> Iterator[Callable[[], float]]:
    return iter([lambda: seconds] * count)


def _run(
    groups: list[Group], budget_s: float, turn_s: float = 1.0
) -> tuple[dict[str, tuple[int, bool]], float, list[str]]:
    clock = _Clock()
    turns: list[str] = []

    def work(call: Callable[[], float]) -> None:
        clock.now += call()

    taken = take_turns(
        groups, work=work, budget_s=budget_s, turn_s=turn_s, begin_turn=turns.append, clock=clock
    )  # fmt: skip
    return {t.name: (t.probes, t.finished) for t in taken}, clock.now, turns


def test_all_is_done_if_there_is_time() -> None:
    taken, spent_s, _ = _run([Group("a", 1, _calls(5, 1.0)), Group("b", 3, _calls(2, 1.0))], budget_s=100)
    assert taken == {"a": (5, True), "b": (2, True)}
    assert spent_s == 7.0


def test_groups_are_cut_by_their_shares() -> None:
    taken, spent_s, _ = _run([Group("a", 1, _calls(1000, 0.1)), Group("b", 3, _calls(1000, 0.1))], budget_s=40)
    assert spent_s == pytest.approx(40, abs=0.2)
    assert taken["b"][0] / taken["a"][0] == pytest.approx(3, rel=0.15)
    assert not taken["a"][1]
    assert not taken["b"][1]


def test_what_a_small_group_leaves_goes_to_the_others() -> None:
    taken, spent_s, _ = _run([Group("small", 5, _calls(3, 0.1)), Group("large", 1, _calls(1000, 0.1))], budget_s=20)
    assert taken["small"] == (3, True)
    assert taken["large"][0] == pytest.approx(197, abs=3)
    assert spent_s <= 20.2


def test_turns_alternate() -> None:
    _, _, turns = _run([Group("a", 1, _calls(40, 0.5)), Group("b", 1, _calls(40, 0.5))], budget_s=20)
    assert turns[:6] == ["a", "b"] * 3


def test_without_a_limit_a_turn_ends_with_the_fair_share() -> None:
    taken, _, turns = _run(
        [Group("a", 1, _calls(1000, 0.1)), Group("b", 1, _calls(1000, 0.1))], budget_s=20, turn_s=float("inf")
    )  # fmt: skip
    assert turns[:2] == ["a", "b"]
    assert taken["a"][0] == pytest.approx(100, abs=2)


def test_a_call_that_takes_longer_than_all_the_budget_ends_it() -> None:
    taken, spent_s, _ = _run([Group("a", 1, _calls(5, 60.0)), Group("b", 1, _calls(5, 1.0))], budget_s=10)
    assert taken == {"a": (1, False), "b": (0, False)}
    assert spent_s == 60.0
