"""What counts of repetitions that others interrupted, on a clock that the tests move."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from trainworthy.calibrate import timing
from trainworthy.calibrate.timing import time_call


class _Machine:
    """Calls take the given seconds in turn, and then the last for ever; above 1 s somebody interrupted."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.now, self.switches, self._seconds = 0.0, 0, list(seconds)

    def call(self) -> None:
        took = self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        self.now += took
        self.switches += took > 1


def _timed(monkeypatch: pytest.MonkeyPatch, seconds: Sequence[float], budget_s: float) -> timing.Timing:
    machine = _Machine(seconds)
    monkeypatch.setattr(time, "perf_counter", lambda: machine.now)
    monkeypatch.setattr(timing, "involuntary_switches", lambda: machine.switches)
    return time_call(machine.call, budget_s=budget_s)


def test_the_median_of_quiet_repetitions_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _timed(monkeypatch, [0.1, 0.3, 0.1, 0.2, 0.1], budget_s=0.65)
    assert found.time_s == pytest.approx(0.2)
    assert not found.disturbed


def test_interrupted_repetitions_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _timed(monkeypatch, [0.1, 8.0, 0.1, 8.0, 8.0, 0.1, 0.1], budget_s=20)
    assert found.time_s == pytest.approx(0.1)
    assert not found.disturbed


def test_if_all_are_interrupted_the_shortest_counts_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _timed(monkeypatch, [8.0, 8.0, 6.0, 4.0, 8.0], budget_s=3)
    assert found.time_s == pytest.approx(4.0)
    assert found.disturbed


def test_switches_are_counted_where_the_system_counts_them() -> None:
    assert timing.involuntary_switches() >= 0
