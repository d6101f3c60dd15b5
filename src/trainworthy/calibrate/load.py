"""Whether others used the machine while it was measured."""

from __future__ import annotations

import os
from pathlib import Path


class OtherWork:
    """Counts the processor time that other processes took; knows nothing where there is no ``/proc/stat``."""

    def __init__(self) -> None:
        self._start = _busy_s()
        self._mine = _own_s()

    def cores(self, wall_s: float) -> float | None:
        """Return how many cores others kept busy on average since the beginning."""
        now = _busy_s()
        if self._start is None or now is None or wall_s <= 0:
            return None
        return max(now - self._start - (_own_s() - self._mine), 0.0) / wall_s


def _own_s() -> float:
    times = os.times()
    return times.user + times.system


def _busy_s() -> float | None:
    """Return processor seconds spent by anybody since the machine started; idle and waiting time is left out."""
    try:
        words = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
        user, nice, system, _idle, _waiting, interrupts, soft, steal = map(int, words[1:9])
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupts + soft + steal) / os.sysconf("SC_CLK_TCK")
