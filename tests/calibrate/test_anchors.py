"""Paces are compared by hand; nothing is timed."""

from __future__ import annotations

import pytest

from trainworthy.calibrate.anchors import Pace, drift, pace_at, relative_paces, slowness


def _paces(*compute: float, memory: float = 1.0) -> list[Pace]:
    return [Pace(float(at), value, memory) for at, value in enumerate(compute)]


def test_paces_are_relative_to_their_medians() -> None:
    relative = relative_paces(_paces(2e-3, 4e-3, 8e-3, memory=5e-3))
    assert [p.compute for p in relative] == [0.5, 1.0, 2.0]
    assert [p.memory for p in relative] == [1.0, 1.0, 1.0]


def test_between_two_paces_it_is_straight_and_outside_the_nearest() -> None:
    paces = _paces(1.0, 2.0)
    assert [pace_at(paces, at).compute for at in (-1.0, 0.25, 5.0)] == [1.0, 1.25, 2.0]


def test_a_kernel_of_arithmetic_and_traffic_is_slowed_by_both() -> None:
    assert slowness(Pace(0.0, 4.0, 1.0), (1e-3, 1e-3, 0.0)) == pytest.approx(2.0)


def test_drift_is_that_of_the_kernel_that_moved_more() -> None:
    steady = _paces(*[1.0] * 11)
    assert drift(steady) == 0.0
    assert drift([p._replace(memory=1.0 + 0.05 * p.at_s) for p in steady]) == pytest.approx(1.45 / 1.05 - 1)


def test_one_slow_moment_is_no_drift() -> None:
    assert drift(_paces(*[1.0] * 10, 9.0)) == 0.0


def test_few_paces_say_nothing() -> None:
    assert drift(_paces(1.0, 2.0, 1.0)) is None
