"""A signal leaves a note and no more; the note says what to leave with."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from trainworthy.train.signals import Stop, exit_code, reason


@pytest.mark.parametrize(
    ("number", "name", "code"),
    [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGUSR1, "SIGUSR1", 143), (signal.SIGINT, "SIGINT", 130)],
)
def test_a_signal_is_noted_and_handlers_come_back(number: signal.Signals, name: str, code: int) -> None:
    before = signal.getsignal(number)
    with Stop() as stop:
        assert stop.code == 0
        os.kill(os.getpid(), number)
        assert reason(stop.code) == name
        assert exit_code(stop.code) == code
    assert signal.getsignal(number) is before


def test_a_second_interrupt_ends_at_once() -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert reason(stop.code) == "SIGINT"


def test_the_time_limit_takes_the_same_way() -> None:
    now = [100.0]
    stop = Stop(60.0, clock=lambda: now[0])
    assert stop.code == 0
    now[0] = 159.9
    assert stop.code == 0
    now[0] = 160.0
    assert reason(stop.code) == "the time limit"
    assert exit_code(stop.code) == 143
    assert stop.code == 1, "and stays so"


def test_a_signal_wins_over_the_time_limit_among_ranks() -> None:
    with Stop(0.0) as stop:
        timed = stop.code
        os.kill(os.getpid(), signal.SIGUSR1)
        assert max(timed, stop.code) == stop.code


def test_outside_of_the_main_thread_only_the_time_limit_counts() -> None:
    before = signal.getsignal(signal.SIGTERM)
    codes = []

    def run() -> None:
        with Stop(0.0) as stop:
            codes.append((stop.code, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [(1, before)]
