"""Signals ask a run to stop; the run stops where its state is whole, between two steps, after saving.

A handler only notes what was asked. The training and the evaluation loop look at the note, and the ranks agree on it
by the collective that they have in every step anyway (:attr:`Stop.code` travels with it; the highest wins).

======================  =========  ==============================================================================
asked by                exit code  meaning
======================  =========  ==============================================================================
SIGTERM, SIGUSR1        143        saved; start the same command again to go on (schedulers requeue on this code)
the time limit          143        the same
SIGINT (Ctrl-C)         130        saved; the user wanted it to end. A second Ctrl-C ends the run at once
======================  =========  ==============================================================================
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

EXIT_REQUEUE = 143
EXIT_INTERRUPTED = 130

_REASONS = {1: "the time limit", 2: "SIGUSR1", 3: "SIGTERM", 4: "SIGINT"}
_TIME, _USR1, _TERM, _INT = _REASONS


def reason(code: int) -> str:
    """Return what asked the run to stop, for messages."""
    return _REASONS[code]


def exit_code(code: int) -> int:
    """Return what the process leaves with after it was asked to stop by ``code``."""
    return EXIT_INTERRUPTED if code == _INT else EXIT_REQUEUE


class Stop:
    """Notes that the run was asked to stop. Use as a context: the handlers before are put back at the end.

    Args:
        max_time_s: Ask to stop after this time; None: no limit.
        clock: Seconds, monotonic.

    Attributes:
        code: 0, or what asked; see :func:`reason` and :func:`exit_code`. Reading it is cheap (0.1 microseconds).
    """

    def __init__(self, max_time_s: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = None if max_time_s is None else clock() + max_time_s
        self._code = 0
        self._before: dict[signal.Signals, Any] = {}

    @property
    def code(self) -> int:
        """What asked the run to stop, as a number that can be compared; 0: nothing."""
        if not self._code and self._deadline is not None and self._clock() >= self._deadline:
            self._code = _TIME
        return self._code

    def __enter__(self) -> Stop:
        """Install the handlers; outside of the main thread Python allows none, and only the time limit counts."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: set from outside of Python
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        code = {signal.SIGTERM: _TERM, signal.SIGUSR1: _USR1, signal.SIGINT: _INT}[signal.Signals(number)]
        if code == _INT and self._code == _INT:
            raise KeyboardInterrupt
        self._code = max(self._code, code)
