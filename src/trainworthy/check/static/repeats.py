"""Calls that a function makes each time it is called, though it is run once for the same arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, Context, With

_MOST = 500


def with_repeats(analysis: Analysis, wanted: Callable[[Call], bool]) -> Iterator[Call]:
    """Yield the wanted calls, and for each later call of a function that makes some, copies of these on that way."""
    calls = [one for one in analysis.all_calls if wanted(one)]
    yield from calls
    below: dict[int, tuple[Call, list[tuple[int, Call]]]] = {}
    for one in calls:
        for depth, caller in enumerate(one.context.callers):
            if caller.function is not None:
                first, made = below.setdefault(id(caller.function), (caller, []))
                if first is caller:
                    made.append((depth, one))
    if not below:
        return
    left = _MOST
    for again in analysis.all_calls:
        if again.function is None or id(again) in analysis.callers or id(again.function) not in below:
            continue
        for depth, one in below[id(again.function)][1]:
            if not left:
                return
            left -= 1
            yield _moved(one, depth, again)


def _moved(call: Call, depth: int, again: Call) -> Call:
    """Return a call as it is made when a function on its way is called from elsewhere."""
    there, here = call.context, again.context
    outer = there.callers[depth].context.withs
    withs: tuple[With, ...] = here.withs + there.withs[len(outer) :]
    callers = (*here.callers, again, *there.callers[depth + 1 :])
    context = Context(there.source, there.function, there.loops, withs, there.branches, callers)
    return dataclasses.replace(call, context=context, at=again.at)
