"""Learning-rate schedules, played to the end of the planned training.

How often a schedule moves in a step is seen; how many steps there will be is read from the loops around the step. The
schedule is then stepped that often, and everything in it and in its optimizer is put back.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainworthy.virtual.loop_plan import LoopPlan, plan_of

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu
    from trainworthy.virtual.notes_batches import BatchNotes

_MAX_PLAYED = 20_000
_HORIZONS = ("T_max", "total_steps", "total_iters")


@dataclass(slots=True)
class _Made:
    """A scheduler: where it was made, how far it was at the end of each step, and what playing it showed."""

    ref: weakref.ref[Any]
    source: int
    moves: list[int] = field(default_factory=list)
    played: dict[str, Any] | None = None
    inner: bool = False

    @property
    def per_step(self) -> int | None:
        """How often it moves in a step; None if that is not known yet, or not always the same."""
        moved = {b - a for a, b in zip(self.moves, self.moves[1:], strict=False)}
        return moved.pop() if len(moved) == 1 else None


class ScheduleNotes:
    """Follows every scheduler that is made."""

    def __init__(self, gpu: VirtualGpu, batches: BatchNotes) -> None:
        self._recorder = gpu.recorder
        self._batches = batches
        self._made: list[_Made] = []
        self._plan: LoopPlan | None = None
        self._planned = False
        self._playing = False
        self._wrapped: dict[type, Any] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        base: Any = LRScheduler
        init, notes = base.__init__, self

        def noted(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            notes._wrap(type(scheduler))
            init(scheduler, *args, **kwargs)
            source, _ = notes._recorder.finder.find(sys._getframe(1))
            notes._made.append(_Made(weakref.ref(scheduler), source))

        hook = register_optimizer_step_pre_hook(self._steps)
        on_step_end = self._recorder.steps.on_step_end
        on_step_end.append(self._step_ends)
        base.__init__ = noted
        try:
            yield
        finally:
            base.__init__ = init
            for cls, step in self._wrapped.items():
                cls.step = step  # type: ignore[attr-defined]
            on_step_end.remove(self._step_ends)
            hook.remove()

    def _wrap(self, cls: type) -> None:
        """Be told when a scheduler of this class has moved."""
        owner: Any = next(base for base in cls.__mro__ if "step" in vars(base))
        if owner in self._wrapped:
            return
        step, notes = owner.step, self
        self._wrapped[owner] = step

        @functools.wraps(step)
        def followed(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            out = step(scheduler, *args, **kwargs)
            notes._moved(scheduler)
            return out

        owner.step = followed

    def _steps(self, *_: Any) -> None:
        if not self._planned:
            self._planned = True
            with contextlib.suppress(Exception):  # odd objects in the user's frames
                self._plan = plan_of(sys._getframe(1), self._recorder.finder.is_user)

    def _step_ends(self, step: int) -> None:
        alive = [(made, scheduler) for made in self._made if (scheduler := made.ref()) is not None]
        inner = {id(one) for _, scheduler in alive for one in getattr(scheduler, "_schedulers", ())}
        for made, scheduler in alive:
            made.moves.append(int(getattr(scheduler, "last_epoch", 0)))
            made.inner |= id(scheduler) in inner
            if made.per_step:
                self._play(made, scheduler)

    def _moved(self, scheduler: Any) -> None:
        """Look at one that moves between steps: once an epoch, when the loader has come to its end."""
        made = next((one for one in self._made if one.ref() is scheduler), None)
        if made is not None and made.per_step == 0 and scheduler.last_epoch > made.moves[-1]:
            self._play(made, scheduler)

    def notes(self) -> list[dict[str, Any]]:
        """Return what each schedule would do in the planned training; nothing for those that cannot be told."""
        noted = []
        for made in self._made:
            if made.played is not None and not made.inner and made.per_step == made.played["per_step"]:
                place = self._recorder.finder.sources[made.source]
                noted.append({"path": place.path, "line": place.line, **made.played})
        return noted

    def _play(self, made: _Made, scheduler: Any) -> None:
        plan, per_step = self._plan, made.per_step
        if self._playing or made.played or plan is None or per_step is None or isinstance(scheduler, ReduceLROnPlateau):
            return
        per_epoch = self._steps_per_epoch(plan)
        if per_epoch is None:
            return
        total = plan.epochs * per_epoch * per_step if per_step else plan.epochs
        left = total - scheduler.last_epoch
        horizon = next((getattr(scheduler, name) for name in _HORIZONS if hasattr(scheduler, name)), None)
        self._playing = True
        try:
            rates, error = play(scheduler, max(min(left, _MAX_PLAYED), 0))
        finally:
            self._playing = False
        made.played = {
            "class": type(scheduler).__name__, "per_step": per_step, "epochs": plan.epochs,
            "steps_per_epoch": per_epoch, "total": total, "horizon": horizon if isinstance(horizon, int) else None,
            "error": error, "played": len(rates), **_summary(rates),
        }  # fmt: skip

    def _steps_per_epoch(self, plan: LoopPlan) -> int | None:
        """Return the optimizer steps of an epoch; 1 where no loader is looped over."""
        if plan.batches is None:
            return 1
        steps = self._recorder.steps.completed
        batches = self._batches.batches
        if not steps or batches % steps:
            return None
        return plan.batches // max(batches // steps, 1)


def _summary(rates: list[float]) -> dict[str, Any]:
    """Return the highest and last rate, the lowest, and from when on it is at most a millionth of the highest."""
    top = max(rates, default=0.0)
    gone = len(rates)
    while gone and rates[gone - 1] <= 1e-6 * top:
        gone -= 1
    return {"highest": top, "last": rates[-1] if rates else 0.0, "lowest": min(rates, default=0.0), "gone_at": gone}


def play(scheduler: Any, steps: int) -> tuple[list[float], str | None]:
    """Step a scheduler; return the largest rate after each step and what it raised. All is put back."""
    parts = [scheduler, *getattr(scheduler, "_schedulers", ())]
    states = [(part, dict(part.__dict__)) for part in parts]
    groups = [({k: v for k, v in g.items() if k != "params"}, g) for g in scheduler.optimizer.param_groups]
    rates: list[float] = []
    error = None
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            for _ in range(steps):
                scheduler.step()
                rates.append(max(float(g["lr"]) for g in scheduler.optimizer.param_groups))
    except Exception as raised:  # what it raises is the answer
        error = f"{type(raised).__name__}: {raised}"
    finally:
        for part, state in states:
            part.__dict__.clear()
            part.__dict__.update(state)
        for saved, group in groups:
            group.update(saved)
    return rates, error
