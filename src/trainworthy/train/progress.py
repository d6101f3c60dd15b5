"""How far a run is: a bar on a terminal, elsewhere one line every few seconds; on rank 0 only."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

_BAR_S = 0.2  # between two drawings of the bar
_REST = 8 + 20 + 5  # columns of the time that is left, of a bar worth looking at, and between


class Progress:
    """Takes every step, and shows something when it is time.

    Args:
        steps: Steps in all.
        every_s: Seconds between lines, where there is no terminal.
        stream: Where to; None: nowhere.
    """

    def __init__(self, steps: int, *, every_s: float, stream: TextIO | None = sys.stderr) -> None:
        self._steps, self._stream = steps, stream
        self._numbers: Mapping[str, float] = {}
        self._bar: Any = None
        self._task: Any = None
        self._every_s = every_s
        self._room = 0
        if stream is None:
            self._due = float("inf")
            return
        if stream.isatty():
            self._every_s = _BAR_S
            self._start_bar()
        self._due = time.perf_counter() + self._every_s

    def step(self, step: int) -> None:
        """Say that ``step`` steps are done; costs a look at the clock."""
        now = time.perf_counter()
        if now < self._due:
            return
        self._due = now + self._every_s
        if self._bar is not None:
            self._bar.update(self._task, completed=step, numbers=_words(self._numbers, self._room), refresh=True)
        else:
            self.say(f"step {step}/{self._steps}  {_words(self._numbers)}".rstrip())

    def numbers(self, numbers: Mapping[str, float]) -> None:
        """Say what to show beside the step from now on."""
        self._numbers = numbers

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        elif self._stream is not None:
            self._write(line)

    def warn(self, text: str) -> None:
        """Print a warning, also where no progress is shown."""
        if self._stream is not None:
            self.say(f"warning: {text}")
        else:
            with suppress(OSError):
                sys.stderr.write(f"warning: {text}\n")

    def close(self, step: int) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, numbers=_words(self._numbers, self._room))
            self._bar.stop()
            self._bar = None

    def _write(self, line: str) -> None:
        """Write a line; a reader that has gone (``| head``) ends the progress, not the run."""
        assert self._stream is not None
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError:
            self._stream, self._due = None, float("inf")

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"))
        self._bar = Progress(*columns, console=Console(file=self._stream), auto_refresh=False)
        self._room = self._bar.console.width - 2 * len(str(self._steps)) - _REST
        self._task = self._bar.add_task("train", total=self._steps, numbers="")
        self._bar.start()


def _words(numbers: Mapping[str, float], room: int = 100) -> str:
    """Return as many numbers as there is room for, the loss first; rates are left to metrics.jsonl."""
    names = sorted(numbers, key=lambda name: not name.endswith("loss"))
    line = ""
    for name in names:
        word = f"{name} {numbers[name]:.4g}"
        if not name.endswith("_s") and len(line) + 2 + len(word) <= room:
            line += ("  " if line else "") + word
    return line
