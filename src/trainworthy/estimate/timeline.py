"""Host and device as a max-plus system: what a run of operations does to both clocks, in closed form.

The host thread issues operations one after the other; a stream of the device executes them in that order. With ``h``
the time at which the host is free and ``d`` the time at which the stream is, an operation that costs the host ``a``,
waits ``delay`` between the call and its earliest start, and runs for ``b`` changes them to

    h' = h + a        d' = max(d, h' + delay) + b

Both are sums and maxima, so that a run of operations is of the same form, whatever its length:

    h' = h + host_s        d' = max(d + busy_s, h + path_s)

``path_s`` is the longest way from the host's clock to the end of the stream. Runs compose, and a run repeated n times
has a closed form: a block of a hundred layers costs as much to evaluate as one.

Source: the (max, +) algebra of timed event graphs, Baccelli, Cohen, Olsder and Quadrat, "Synchronization and
Linearity", 1992, chapters 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["NOTHING", "Run", "kernel", "on_host", "sequence"]

_NEVER = float("-inf")


class Run(NamedTuple):
    """What a run of operations does to the clocks of host and stream."""

    host_s: float
    busy_s: float
    path_s: float

    def then(self, other: Run) -> Run:
        """This run followed by another.

        >>> kernel(host_s=1, busy_s=5).then(kernel(host_s=1, busy_s=2))
        Run(host_s=2, busy_s=7, path_s=8.0)
        """
        return Run(
            self.host_s + other.host_s,
            self.busy_s + other.busy_s,
            max(self.path_s + other.busy_s, self.host_s + other.path_s),
        )

    def times(self, count: int) -> Run:
        """This run ``count`` times.

        The longest way enters the stream in the first or in the last repetition: before it, host time adds up; after
        it, busy time does.

        >>> kernel(host_s=1, busy_s=5).times(3) == kernel(host_s=1, busy_s=5).then(kernel(host_s=1, busy_s=5).times(2))
        True
        """
        if count == 0:
            return NOTHING
        longest = max(self.host_s, self.busy_s)
        return Run(count * self.host_s, count * self.busy_s, self.path_s + (count - 1) * longest)


NOTHING = Run(0.0, 0.0, _NEVER)


def kernel(*, host_s: float, busy_s: float, delay_s: float = 0.0) -> Run:
    """One operation that the host issues and the stream executes."""
    return Run(host_s, busy_s, float(host_s + delay_s + busy_s))


def on_host(seconds: float) -> Run:
    """Work of the host alone: a view, or an operation of a device that the host waits for."""
    return Run(seconds, 0.0, _NEVER)


def sequence(runs: Iterable[Run]) -> Run:
    """Runs one after the other."""
    whole = NOTHING
    for run in runs:
        whole = whole.then(run)
    return whole
