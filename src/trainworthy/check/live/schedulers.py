"""Schedulers that step again before the optimizer has: by two ways through the program, and more than once."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from torch.optim import lr_scheduler

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import SteppedAgain
from trainworthy.check.live.watch import Watch

Way = tuple[tuple[CodeType, int], ...]


@dataclass(slots=True)
class _Steps:
    """What is known of a scheduler: its last step, and those that came before the next one of an optimizer."""

    ref: weakref.ref[Any]
    class_name: str
    at: int = -1
    way: Way = ()
    place: Place | None = None
    again: dict[int, tuple[Place, Place]] = field(default_factory=dict)


class SchedulerWatch:
    """Stands in for ``step`` of torch's schedulers; what a scheduler does to those inside it is its own affair."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._known: dict[int, _Steps] = {}
        self._depth = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the methods while the context is open."""
        with ExitStack() as stack:
            for kind in (lr_scheduler.LRScheduler, *_with_own_step(lr_scheduler.LRScheduler)):
                step = vars(kind)["step"]
                kind.step = self._watched(step)
                stack.callback(setattr, kind, "step", step)
            yield

    def _watched(self, step: Any) -> Any:
        def watched(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._depth and self.watch.looking and self.watch.step:
                self.watch.attempt("schedulers", self._note, scheduler, sys._getframe(1))
            self._depth += 1
            try:
                return step(scheduler, *args, **kwargs)
            finally:
                self._depth -= 1

        watched.__name__, watched.__doc__ = "step", step.__doc__
        return watched

    def _note(self, scheduler: Any, frame: FrameType) -> None:
        if frame.f_code.co_name in ("_initial_step", "__init__"):
            return
        known = self._known.get(id(scheduler))
        if known is None or known.ref() is not scheduler:
            known = self._known[id(scheduler)] = _Steps(weakref.ref(scheduler), type(scheduler).__name__)
        way, place = self._way(frame), self.watch.place()
        if known.at == self.watch.step and known.way != way and known.place is not None:
            known.again.setdefault(self.watch.step, (known.place, place))
        known.at, known.way, known.place = self.watch.step, way, place

    def _way(self, frame: FrameType | None) -> Way:
        """Return the user's lines on the way to a call."""
        lines = []
        while frame is not None:
            if self.watch.finder.is_user(frame.f_code):
                lines.append((frame.f_code, frame.f_lineno))
            frame = frame.f_back
        return tuple(lines)

    def finish(self) -> None:
        """Write down the schedulers that did so twice."""
        for known in self._known.values():
            if len(known.again) >= 2:
                first, second = next(iter(known.again.values()))
                self.watch.facts.stepped_again.append(SteppedAgain(
                    place=second, first=first, class_name=known.class_name, times=len(known.again),
                ))  # fmt: skip
        self._known.clear()


def _with_own_step(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        if "step" in vars(one) and one.__module__ == lr_scheduler.__name__:
            yield one
        yield from _with_own_step(one)
