"""Learning-rate schedules, played to the end of the planned training.

How often a schedule moves in a step is seen; how many steps there will be is read from the loops around the step. The
schedule is then stepped that often, and everything in it and in its optimizer is put back.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainworthy.virtual.loop_plan import LoopPlan, plan_of

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu
    from trainworthy.virtual.notes_batches import BatchNotes

_MAX_PLAYED = 20_000
_HORIZONS = ("T_max", "total_steps", "total_iters")


class ScheduleNotes:
    """Follows every scheduler that is made."""

    def __init__(self, gpu: VirtualGpu, batches: BatchNotes) -> None:
        self._recorder = gpu.recorder
        self._batches = batches
        self._made: list[tuple[weakref.ref[Any], int, list[int]]] = []  # scheduler, source, moves at step ends
        self._plan: LoopPlan | None = None
        self._planned = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        init, notes = LRScheduler.__init__, self

        def noted(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            init(scheduler, *args, **kwargs)
            source, _ = notes._recorder.finder.find(sys._getframe(1))
            notes._made.append((weakref.ref(scheduler), source, []))

        hook = register_optimizer_step_pre_hook(self._steps)
        on_step_end = self._recorder.steps.on_step_end
        on_step_end.append(self._step_ends)
        LRScheduler.__init__ = noted  # type: ignore[method-assign]
        try:
            yield
        finally:
            LRScheduler.__init__ = init  # type: ignore[method-assign]
            on_step_end.remove(self._step_ends)
            hook.remove()

    def _steps(self, *_: Any) -> None:
        if not self._planned:
            self._planned = True
            with contextlib.suppress(Exception):  # odd objects in the user's frames
                self._plan = plan_of(sys._getframe(1), self._recorder.finder.is_user)

    def _step_ends(self, step: int) -> None:
        for ref, _, moves in self._made:
            scheduler = ref()
            if scheduler is not None:
                moves.append(int(getattr(scheduler, "last_epoch", 0)))

    def notes(self) -> list[dict[str, Any]]:
        """Return what each schedule would do in the planned training; nothing for those that cannot be told."""
        inner = {
            id(one) for ref, *_ in self._made if (s := ref()) is not None for one in getattr(s, "_schedulers", ())
        }
        noted = []
        for ref, source, moves in self._made:
            scheduler = ref()
            known = scheduler is not None and not isinstance(scheduler, ReduceLROnPlateau) and len(moves) >= 2
            if not known or id(scheduler) in inner or self._plan is None:
                continue
            place = self._recorder.finder.sources[source]
            played = self._played(scheduler, moves)
            if played is not None:
                noted.append({"class": type(scheduler).__name__, "path": place.path, "line": place.line, **played})
        return noted

    def _played(self, scheduler: Any, moves: list[int]) -> dict[str, Any] | None:
        plan, per_step = self._plan, moves[-1] - moves[-2]
        if plan is None or any(b - a != per_step for a, b in zip(moves, moves[1:], strict=False)):
            return None
        per_epoch = self._steps_per_epoch(plan)
        if per_epoch is None:
            return None
        at_the_end = per_step == 0 and scheduler.last_epoch > moves[-1]
        if per_step == 0 and not at_the_end:
            return None
        total = plan.epochs * per_epoch * per_step if per_step else plan.epochs
        horizon = next((getattr(scheduler, name) for name in _HORIZONS if hasattr(scheduler, name)), None)
        rates, error = play(scheduler, min(total, _MAX_PLAYED))
        return {
            "per_step": per_step, "epochs": plan.epochs, "steps_per_epoch": per_epoch, "total": total,
            "horizon": horizon if isinstance(horizon, int) else None, "error": error, "played": len(rates),
            **_summary(rates),
        }  # fmt: skip

    def _steps_per_epoch(self, plan: LoopPlan) -> int | None:
        if plan.batches is None:
            return 1
        steps = self._recorder.steps.completed
        if not steps or self._batches.batches_in_steps % steps:
            return None
        return plan.batches // max(self._batches.batches_in_steps // steps, 1)


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
