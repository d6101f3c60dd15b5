"""Schedulers that step at the wrong time.

Some step again before the optimizer has: by two ways through the program, and more than once. Others step in each turn
before the optimizer does, the first time included.
"""

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
from trainworthy.check.live.facts_setup import SteppedAgain, SteppedEarly
from trainworthy.check.live.optimizers import learning_rate
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


@dataclass(slots=True)
class _First:
    """The first step of a scheduler, if no optimizer had stepped before it; ``times`` counts the steps until one did.

    ``optimizer_way`` is how the program came to that step of the optimizer.
    """

    ref: weakref.ref[Any]
    class_name: str
    way: Way
    place: Place
    times: int = 1
    optimizer_way: Way = ()
    optimizer_place: Place | None = None
    repeated: bool = False


class SchedulerWatch:
    """Stands in for ``step`` of torch's schedulers; what a scheduler does to those inside it is its own affair."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._known: dict[int, _Steps] = {}
        self._first: dict[int, _First] = {}
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
            if not self._depth and self.watch.looking:
                self.watch.attempt("first steps of schedulers", self._note_first, scheduler, sys._getframe(1),
                                   bool(args or kwargs))  # fmt: skip
                if self.watch.step:
                    self.watch.attempt("schedulers", self._note, scheduler, sys._getframe(1))
            self._depth += 1
            try:
                return step(scheduler, *args, **kwargs)
            finally:
                self._depth -= 1

        watched.__name__, watched.__doc__ = "step", step.__doc__
        return watched

    def stepped_at(self, scheduler: Any) -> Place | None:
        """Return the line of a scheduler's last step."""
        known = self._known.get(id(scheduler))
        return known.place if known is not None and known.ref() is scheduler else None

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

    def _note_first(self, scheduler: Any, frame: FrameType, told_where: bool) -> None:
        """Note a first step before the optimizer's, and whether the program comes there again after that."""
        first = self._first.get(id(scheduler))
        if first is not None and first.ref() is scheduler:
            if not self.watch.step:
                first.times += 1
            elif not first.repeated and first.optimizer_way:
                first.repeated = self._way(frame) == first.way
        elif not self.watch.step and not told_where and self._skips_a_value(scheduler, frame):
            way, place = self._way(frame), self.watch.place()
            self._first[id(scheduler)] = _First(weakref.ref(scheduler), type(scheduler).__name__, way, place)

    def _skips_a_value(self, scheduler: Any, frame: FrameType) -> bool:
        """Say whether the value that the optimizer has now, and has not used, is one to train with."""
        optimizer = getattr(scheduler, "optimizer", None)
        if frame.f_code.co_name in ("_initial_step", "__init__") or optimizer is None:
            return False
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) or getattr(scheduler, "last_epoch", None) != 0:
            return False
        # A GradScaler may have left out the step that came before.
        if self.watch.facts.scaler_used or optimizer.state or getattr(optimizer, "_opt_called", False):
            return False
        return bool(learning_rate(optimizer))

    def step_ends(self, place: Place) -> None:
        """Note how the program came to the first step of an optimizer."""
        if self._first and not self.watch.step:
            way = self._way(sys._getframe(1))
            for first in self._first.values():
                first.optimizer_way, first.optimizer_place = way, place

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
        for early in self._first.values():
            if early.repeated and early.times == 1 and early.optimizer_place is not None:
                self.watch.facts.stepped_early.append(SteppedEarly(
                    place=self._parting(early), optimizer=early.optimizer_place, class_name=early.class_name,
                ))  # fmt: skip
        self._first.clear()

    def _parting(self, first: _First) -> Place:
        """Return the line on the way to the scheduler's step at which it leaves the way to the optimizer's."""
        for mine, other in zip(reversed(first.way), reversed(first.optimizer_way), strict=False):
            if mine != other:
                code, line = mine
                return Place(self.watch.finder.relative(code.co_filename), line)
        return first.place


def _with_own_step(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        if "step" in vars(one) and one.__module__ == lr_scheduler.__name__:
            yield one
        yield from _with_own_step(one)
