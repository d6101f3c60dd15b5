"""How many steps a loop is going to make, and where its learning rate will be by then.

The number of epochs is read from the loop around the one over the loader (``for epoch in range(E)``: E is looked up in
the frame that runs it), the number of batches is ``len(loader)``, and steps per batch are those that were seen. The
schedule is played forward on a copy of numbers only; the scheduler itself is not touched. Of schedules that are told
their length, that is compared with the number of epochs.
"""

from __future__ import annotations

import ast
import functools
import gc
import linecache
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from torch.optim import lr_scheduler

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import Schedule
from trainworthy.check.live.watch import Watch

_MOST_STEPS = 100_000
_GONE = 1e-6
_EARLY = 0.7  # of the plan; a schedule that ends later may be meant to
_RANGES = ("range", "trange", "tqdm", "track")


class Plan(NamedTuple):
    """A loop over epochs around one over a loader."""

    epochs: int
    batches: int
    loop: Place
    loader: int


class PlanWatch:
    """Remembers the plan of the first loader that is gone through, and looks at schedulers once."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._plan: Plan | None = None
        self._batches = 0
        self._looked = False
        self.stepped_at: Callable[[Any], Place | None] = lambda scheduler: None

    def loader_begins(self, loader: Any, number: int, frame: FrameType) -> None:
        """Read the plan from the frames above the beginning of a loader's loop."""
        if self._plan is None and not self.watch.step:
            self.watch.attempt("schedules", self._read_plan, loader, number, frame)

    def _read_plan(self, loader: Any, number: int, frame: FrameType) -> None:
        found = epochs_around(self.watch, frame)
        if found is not None:
            self._plan = Plan(found[0], len(loader), found[1], number)

    def batch_given(self, number: int) -> None:
        """Count a batch of the loader that the plan is of."""
        self._batches += self._plan is not None and self._plan.loader == number

    def step_ends(self, place: Place) -> None:
        """Look, once, after a few steps of a single optimizer."""
        steps = self.watch.step + 1
        if self._looked or steps < 4 or (self._plan is not None and not self._batches):
            return
        self._looked = True
        if self._plan is None:
            self.watch.attempt("schedules", self._read_plan_of_a_list, sys._getframe(1))
        if self._plan is None or len({s.optimizer for s in self.watch.facts.steps}) != 1:
            return
        per_batch = steps / (self._batches or len(self.watch.facts.backwards) or steps)
        planned = int(self._plan.epochs * self._plan.batches * per_batch)
        if not 8 <= planned <= _MOST_STEPS:
            return
        for scheduler in [s for s in gc.get_objects() if issubclass(type(s), (lr_scheduler.LambdaLR, *_TOLD))]:
            self.watch.attempt("schedules", self._note, scheduler, place, planned, per_batch)

    def _note(self, scheduler: Any, place: Place, planned: int, per_batch: float) -> None:
        made, steps = int(scheduler.last_epoch), self.watch.step + 1
        if not steps - 1 <= made <= steps:
            return  # it does not move once a step
        assert self._plan is not None
        told = isinstance(scheduler, _TOLD)
        length = length_in_epochs(scheduler, self._plan.epochs) if told else None
        gone = zero_from(scheduler, planned) if not told else None
        is_short = length is not None and self._plan.batches >= _FEW and planned >= 3 * length
        if is_short or (gone is not None and steps < gone < _EARLY * planned):
            self.watch.facts.schedules.append(Schedule(
                place=self.stepped_at(scheduler) or place, class_name=type(scheduler).__name__, zero_from=gone or 0,
                planned=planned, length=length, epochs=self._plan.epochs, batches=self._plan.batches,
                steps_per_batch=per_batch, loop=self._plan.loop,
            ))  # fmt: skip

    def _read_plan_of_a_list(self, frame: FrameType) -> None:
        """Read the plan of a loop over a list of batches from the frames above the optimizer's step."""
        found = epochs_around(self.watch, frame)
        batches = _list_around(self.watch, frame) if found is not None else None
        if found is not None and batches is not None:
            self._plan = Plan(found[0], batches, found[1], -1)


_TOLD = (lr_scheduler.CosineAnnealingLR, lr_scheduler.PolynomialLR, lr_scheduler.MultiStepLR)
_FEW = 3


def length_in_epochs(scheduler: Any, epochs: int) -> int | None:
    """Return the length of a schedule that is told as many moves as there are epochs, or drops within so many."""
    if isinstance(scheduler, lr_scheduler.MultiStepLR):
        last = max(scheduler.milestones, default=0)
        return last if 1 < last <= epochs else None
    length = getattr(scheduler, "T_max", getattr(scheduler, "total_iters", None))
    return epochs if length == epochs and epochs > 1 else None


def _list_around(watch: Watch, frame: FrameType | None) -> int | None:
    """Return the length of the list that the innermost loop around a line goes over, within its loop over a range."""
    while frame is not None:
        if watch.finder.is_user(frame.f_code):
            source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
            outer = _loop(source, frame.f_lineno)
            inner = [one for one in ast.walk(outer) if isinstance(one, ast.For) and one is not outer] if outer else []
            inner = [one for one in inner if one.lineno < frame.f_lineno <= (one.end_lineno or 0)]
            if outer is not None:
                return _length_of(inner[-1].iter, frame) if inner else None
        frame = frame.f_back
    return None


def _length_of(node: ast.expr, frame: FrameType) -> int | None:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("enumerate", "tqdm") and node.args:
        return _length_of(node.args[0], frame)
    held = frame.f_locals.get(node.id, frame.f_globals.get(node.id)) if isinstance(node, ast.Name) else None
    return len(held) if isinstance(held, (list, tuple)) else None


def zero_from(scheduler: Any, planned: int) -> int | None:
    """Return the first step from which on every group's rate is (almost) 0 until the end of the plan; None if none is.

    Only of schedules that are functions of the step's number.
    """
    rates = [max(float(f(n)) for f in scheduler.lr_lambdas) for n in range(planned)]
    top = max(rates, default=0.0)
    if top <= 0:
        return None
    last = max(n for n, rate in enumerate(rates) if rate > _GONE * top)
    return last + 1 if last + 1 < planned else None


def epochs_around(watch: Watch, frame: FrameType | None) -> tuple[int, Place] | None:
    """Return the number of turns of the innermost loop over a range around a line, in its function or a caller's."""
    for _ in range(12):
        if frame is None:
            return None
        if watch.finder.is_user(frame.f_code):
            source = "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))
            loop = _loop(source, frame.f_lineno)
            if loop is not None:
                turns = _turns(loop, frame)
                path = watch.finder.relative(frame.f_code.co_filename)
                return (turns, Place(path, loop.lineno)) if turns is not None else None
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=16)
def _tree(source: str) -> ast.Module:
    return ast.parse(source)


def _loop(source: str, line: int) -> ast.For | None:
    """Return the innermost ``for ... in range(...)`` whose body holds a line, within the same function."""
    best = None
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.For) and _range(node.iter) is not None:
            end = node.body[-1].end_lineno or 0
            inner = any(
                isinstance(d, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                and d.lineno <= line <= (d.end_lineno or 0) for d in ast.walk(node)
            )  # fmt: skip
            if node.body[0].lineno <= line <= end and not inner and (best is None or node.lineno > best.lineno):
                best = node
    return best


def _range(node: ast.expr) -> ast.Call | None:
    """Return the call of ``range`` in what a loop goes over, also within ``tqdm``."""
    if not isinstance(node, ast.Call):
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("range", "trange"):
        return node
    return _range(node.args[0]) if name in _RANGES and node.args else None


def _turns(loop: ast.For, frame: FrameType) -> int | None:
    call = _range(loop.iter)
    values = [_value(arg, frame) for arg in call.args] if call is not None else []
    if not 1 <= len(values) <= 2 or any(v is None for v in values):
        return None
    numbers = [v for v in values if v is not None]
    return len(range(*numbers))


def _value(node: ast.expr, frame: FrameType) -> int | None:
    """Evaluate a number, a name, an attribute, or a sum of these; nothing is called."""
    if isinstance(node, ast.Constant):
        value: Any = node.value
    elif isinstance(node, ast.Name):
        value = frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    elif isinstance(node, ast.Attribute):
        value = getattr(_held(node.value, frame), "__dict__", {}).get(node.attr)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        left, right = _value(node.left, frame), _value(node.right, frame)
        if left is None or right is None:
            return None
        value = left + right if isinstance(node.op, ast.Add) else left - right
    else:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _held(node: ast.expr, frame: FrameType) -> Any:
    """Return what a name, or an attribute of one, holds; nothing is called."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Attribute):
        return getattr(_held(node.value, frame), "__dict__", {}).get(node.attr)
    return None
