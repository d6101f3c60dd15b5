"""Looks that run the user's model once more, within a limit of time: evaluation may take far longer than a step does.

A detector, say, suppresses overlapping boxes in Python when it is in evaluation mode, and an untrained one has
thousands. The alarm is the process's own (``setitimer``): it rings in the main thread, between two of Python's
instructions. Another alarm that is set, as of a time limit of the whole program, goes on afterwards; if it is due
earlier, or in other threads, there is no limit.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

LEAST_LIMIT_S = 5.0
_STEPS = 3  # a look may take as long as so many steps do, if they are longer


class LookTooLongError(Exception):
    """A look did not end within its limit."""


class _Rings(BaseException):
    """Passes through ``except Exception`` of the user's model."""


def limit_s(began_s: float) -> float:
    """Return how long a look may take after a step whose first call of a model began at ``began_s``."""
    return max(LEAST_LIMIT_S, _STEPS * (time.perf_counter() - began_s))


def in_time(seconds: float, do: Callable[..., Result], *args: object) -> Result:
    """Call a function and return its result.

    Raises:
        LookTooLongError: After ``seconds``; what the function did until then stays done.
    """
    if not _may_set_an_alarm(seconds):
        return do(*args)
    running = True

    def ring(number: int, frame: object) -> None:
        if running:  # an alarm may still be under way when the look has ended
            raise _Rings

    handler = signal.signal(signal.SIGALRM, ring)
    began_s = time.perf_counter()
    left_s, every_s = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            return do(*args)
        finally:
            running = False
    except _Rings:
        raise LookTooLongError(f"it took longer than {seconds:.3g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.perf_counter() - began_s), 0.001), every_s)


def _may_set_an_alarm(seconds: float) -> bool:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return False
    left_s, _ = signal.getitimer(signal.ITIMER_REAL)
    # A handler that is not Python's (``None``) could not be put back.
    return (not left_s or left_s > seconds) and signal.getsignal(signal.SIGALRM) is not None
