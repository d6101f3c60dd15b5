"""Small helpers of live rules; no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def longest_run(items: Sequence[T], holds: Callable[[T], bool]) -> list[T]:
    """Return the longest unbroken run of items for which something holds.

    >>> longest_run([1, 3, 2, 5, 7, 9, 4], lambda n: n % 2 == 1)
    [5, 7, 9]
    """
    best: list[T] = []
    run: list[T] = []
    for item in items:
        run = [*run, item] if holds(item) else []
        if len(run) > len(best):
            best = run
    return best


def listed(names: Sequence[str], most: int = 3) -> str:
    """Name the first few.

    >>> listed(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
