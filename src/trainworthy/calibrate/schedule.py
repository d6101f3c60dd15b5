"""Shares a time budget among groups of probes: each gets its part in turns, and what one leaves the others have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from trainworthy.calibrate.probe import Call


class Group(NamedTuple):
    """Probes of one kind, those first that say most: a group that is cut short still covers its sizes coarsely."""

    name: str
    share: float
    """Of the time, against the shares of the other groups."""
    calls: Iterator[Call]


class Taken(NamedTuple):
    """What became of a group."""

    name: str
    probes: int
    finished: bool


def take_turns(
    groups: Sequence[Group],
    *,
    work: Callable[[Call], None],
    budget_s: float,
    turn_s: float = inf,
    begin_turn: Callable[[str], None] = lambda name: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Taken]:
    """Do ``work`` on the calls of all groups for ``budget_s``; a turn ends after ``turn_s``, or with its fair share.

    The group that had least of its share is next, so that all are cut alike when time runs out, and a machine whose
    speed changes meanwhile changes it for all. One call is never interrupted.
    """
    end = clock() + budget_s
    spent, counts = [0.0] * len(groups), [0] * len(groups)
    waiting = list(range(len(groups)))
    while waiting and clock() < end:
        at = min(waiting, key=lambda i: spent[i] / groups[i].share)
        start = clock()
        fair_s = (end - start) * groups[at].share / sum(groups[i].share for i in waiting)
        begin_turn(groups[at].name)
        for call in groups[at].calls:
            work(call)
            counts[at] += 1
            if clock() >= start + min(turn_s, fair_s):
                break
        else:
            waiting.remove(at)
        spent[at] += clock() - start
    return [Taken(group.name, counts[i], i not in waiting) for i, group in enumerate(groups)]
