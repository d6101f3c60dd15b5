"""What happens at ``optimizer.step()``: gradients just before, parameters just after."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import MixedGradients, TwinOptimizers
from trainworthy.check.live.facts_setup import EmptyGroup
from trainworthy.check.live.facts_steps import Step
from trainworthy.check.live.gradients import Contributions, Gradients
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.updates import Rhythm, Updates
from trainworthy.check.live.watch import Watch, plain, read

# What a CPU sums in a third of the time that its norm takes; of larger ones the copy would count.
_MAX_COMPARED = 10_000_000  # elements of a weight whose rows are compared
_QUICK, _QUICK_ELEMENTS = (torch.float32, torch.float64), 1 << 22


class OptimizerWatch:
    """Uses torch's own global hooks, so that schedulers and scalers find what they expect."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch, gradients: Gradients, operators: OperatorWatch) -> None:
        self.watch = watch
        self.gradients = gradients
        self.operators = operators
        self.stepped: dict[int, weakref.ref[Optimizer]] = {}
        self.backwards_since_step = 0
        self.contributions = Contributions()
        self.before_end: list[Callable[[Place], None]] = []
        self.on_end: list[Callable[[], None]] = []
        self._running: list[tuple[Optimizer, ExitStack, dict[str, Any]]] = []
        self._numbers: dict[int, int] = {}
        self._rhythms: dict[int, Rhythm] = {}
        self.had_gradient: set[int] = set()
        self._held: dict[int, tuple[frozenset[int], int, str]] = {}  # parameters, at the first step of each

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen while the context is open."""
        before = register_optimizer_step_pre_hook(self._begins)
        after = register_optimizer_step_post_hook(self._ended)
        try:
            yield
        finally:
            before.remove()
            after.remove()
            for _, stack, _ in self._running:
                stack.close()
            self._running.clear()

    def note_backward(self) -> None:
        """Count a backward pass."""
        self.backwards_since_step += 1

    # --- before and after --------------------------------------------------------------------------

    def _begins(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self.watch.rely_on("optimizer steps", self._begin, optimizer, args, kwargs)

    def _begin(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        watch = self.watch
        while self._running:  # a step that raised never told its end
            self._running.pop()[1].close()
        if not watch.looking:
            return
        place = watch.place()
        stack = ExitStack()
        stack.enter_context(self.operators.set_aside())
        has_closure = any(callable(a) and a is not optimizer for a in args) or kwargs.get("closure") is not None
        state: dict[str, Any] = {"place": place, "has_closure": has_closure, "cleared_at": watch.cleared_at()}
        if not has_closure:
            with watch.own_work():
                self._look_before(optimizer, state)
        else:
            stack.close()  # the closure is the user's forward and backward pass
        self._running.append((optimizer, stack, state))

    def _ended(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        watch = self.watch
        if not self._running or self._running[-1][0] is not optimizer:
            return
        _, stack, state = self._running.pop()
        try:
            if watch.looking:
                with watch.own_work():
                    watch.rely_on("optimizer steps", self._look_after, optimizer, state)
        finally:
            stack.close()
        watch.settle()
        if watch.looking:
            for listener in self.on_end:
                listener()

    def _look_before(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        with_gradient = [p for p in parameters if p.grad is not None]
        usable = [p for p in with_gradient if plain(p) and plain(p.grad) and p.numel()]
        state["parameters"], state["usable"], state["with_gradient"] = parameters, usable, len(with_gradient)
        state["trainable"] = [p for p in parameters if p.requires_grad]
        state["stale"] = self.gradients.stale(with_gradient)
        state["readings"] = magnitudes([p.grad for p in usable])
        candidates = [p for p in usable if p.is_contiguous() and p.grad.is_contiguous()]
        if self._rhythms.setdefault(id(optimizer), Rhythm()).is_due():
            state["updates"] = Updates(candidates, learning_rate(optimizer) or 0.0)
        if self.watch.step < 4:
            state["corners"] = Corners(usable)

    def _look_after(self, optimizer: Optimizer, state: dict[str, Any]) -> None:
        watch = self.watch
        parameters = state.get("parameters") or [p for g in optimizer.param_groups for p in g["params"]]
        self.gradients.step(parameters)
        if parameters:
            watch.facts.device = parameters[0].device.type
        updates: Updates = state.get("updates") or Updates([], 0.0)
        readings: list[torch.Tensor] = state.get("readings", [])
        numbers = read([*readings, *updates.readings()])
        sizes, moves = numbers[: len(readings)], numbers[len(readings) :]
        corners: Corners | None = state.get("corners")
        lr = learning_rate(optimizer)
        name = watch.names.parameter
        should_move = bool(lr) and all(math.isfinite(size) for size in sizes)
        unmoved = updates.unmoved(moves) if should_move else []
        rounded_share = updates.rounded_share(moves) if should_move else None
        if "updates" in state:
            self._rhythms[id(optimizer)].suspects = bool(unmoved) or (rounded_share or 0.0) > 0
        trainable = state.get("trainable", parameters)
        usable = state.get("usable", [])
        missing = [p for p in trainable if p.grad is None] if not state["has_closure"] else []
        self.had_gradient.update(id(p) for p in trainable if p.grad is not None)
        never = [p for p in missing if id(p) not in self.had_gradient]
        uncalled = [p for p in never if not watch.names.owner_ran(p)]
        alike = corners.alike_rows() if corners is not None else []
        watch.facts.steps.append(Step(
            step=watch.step, optimizer=self._number(optimizer), optimizer_class=type(optimizer).__name__,
            place=state["place"], parameters=len(parameters), trainable=len(trainable), learning_rate=lr,
            with_gradient=state.get("with_gradient", len(usable)),
            gradient_size=sum(sizes) if sizes else None,
            backwards=self.backwards_since_step, has_closure=state["has_closure"],
            num_without_gradient=len(missing), without_gradient=tuple(name(p) for p in never),
            never_called=tuple(name(p) for p in uncalled), cleared_at=state["cleared_at"],
            zero_gradient=tuple(name(p) for p, size in zip(usable, sizes, strict=True) if size == 0),
            stale=state.get("stale", 0),
            nonfinite=tuple(name(p) for p, size in zip(usable, sizes, strict=True) if not math.isfinite(size)),
            unmoved=tuple(name(p) for p in unmoved), rounded_share=rounded_share,
            low_precision=updates.low_precision(),
            alike_rows=tuple(name(p) for p in alike), **self._origins(optimizer, parameters, uncalled, alike),
        ))  # fmt: skip
        self._end_step(optimizer, state["place"], parameters)

    def _origins(
        self, optimizer: Optimizer, parameters: list[torch.Tensor], uncalled: list[torch.Tensor],
        alike: list[torch.Tensor],
    ) -> dict[str, Place | None]:  # fmt: skip
        """Return where an optimizer was made, and things of the first of some parameters were done."""
        watch, owner = self.watch, self.watch.names.owner
        return {
            "made_at": watch.made_at(optimizer),
            "cast_at": watch.cast_at(owner(parameters[0])) if parameters else None,
            "uncalled_at": watch.made_at(owner(uncalled[0])) if uncalled else None,
            "alike_at": watch.filled_at(alike[0]) if alike else None,
        }

    def _end_step(self, optimizer: Optimizer, place: Place, parameters: list[torch.Tensor]) -> None:
        """Tell those who listen that a step is over, and begin the next one."""
        watch = self.watch
        self.stepped[id(optimizer)] = weakref.ref(optimizer)
        if id(optimizer) not in self._held:
            held = frozenset(map(id, parameters))
            self._held[id(optimizer)] = (held, self._number(optimizer), type(optimizer).__name__)
            watch.attempt("groups", self._note_empty_group, optimizer, place)
        if watch.step < 4:
            self._note_mixed(optimizer, place, parameters)
        for listener in self.before_end:
            listener(place)
        watch.step += 1
        self.backwards_since_step = 0
        watch.facts.num_steps = watch.step

    def held_by(self, number: int) -> frozenset[int]:
        """Return the identities of the parameters that an optimizer had at its first step."""
        return next((held for held, other, _ in self._held.values() if other == number), frozenset())

    def _note_empty_group(self, optimizer: Optimizer, place: Place) -> None:
        groups = [(group.get("weight_decay"), group["params"]) for group in optimizer.param_groups]
        if not any(decay == 0 and not held for decay, held in groups):
            return
        flat = [(decay, p) for decay, held in groups if decay for p in held if p.ndim == 1]
        if flat and not any(decay == 0 and held for decay, held in groups):
            name = self.watch.names.parameter
            self.watch.facts.empty_groups.append(EmptyGroup(
                place=place, optimizer_class=type(optimizer).__name__, decay=float(flat[0][0]), flat=len(flat),
                names=tuple(name(p) for _, p in flat),
            ))  # fmt: skip

    def _note_mixed(self, optimizer: Optimizer, place: Place, parameters: list[torch.Tensor]) -> None:
        mixed = self.contributions.step(self._number(optimizer), parameters)
        if mixed is not None:
            self.watch.facts.mixed.append(MixedGradients(
                step=self.watch.step, place=place, optimizer=type(optimizer).__name__, parameters=mixed[0],
                first=mixed[1], last=mixed[2],
            ))  # fmt: skip

    def _number(self, optimizer: Optimizer) -> int:
        return self._numbers.setdefault(id(optimizer), len(self._numbers))

    def finish(self) -> None:
        """Write down optimizers that step the same parameters."""
        places = {s.optimizer: s.place for s in self.watch.facts.steps}
        known: dict[frozenset[int], tuple[int, str]] = {}
        for held, number, name in self._held.values():
            if not held:
                continue
            other, other_name = known.setdefault(held, (number, name))
            if other != number and _take_turns(self.watch.facts.steps, other, number):
                self.watch.facts.twin_optimizers.append(TwinOptimizers(
                    place=places[number], other=places[other], parameters=len(held), classes=(other_name, name),
                ))  # fmt: skip

    def stepped_parameters(self) -> set[int]:
        """Return the identities of the parameters of every optimizer that stepped."""
        alive = [ref() for ref in self.stepped.values()]
        return {id(p) for o in alive if o is not None for group in o.param_groups for p in group["params"]}


def _take_turns(steps: list[Step], first: int, second: int) -> bool:
    """Say whether one of two optimizers steps again after the other: it was not made anew, for another round."""
    turns = [s.optimizer for s in steps if s.optimizer in (first, second)]
    return turns.index(second) < len(turns) - 1 - turns[::-1].index(first)


def magnitudes(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the sum of magnitudes of each tensor; NaN and infinities survive."""
    if all(t.device.type == "cpu" and t.dtype in _QUICK and t.numel() <= _QUICK_ELEMENTS for t in tensors):
        return [t.detach().abs().sum() for t in tensors]
    return list(torch._foreach_norm(tensors, 1))


class Corners:
    """Which weights had the same number at the begin of their first two rows: the few whose rows may all be equal."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        self._groups: list[tuple[list[torch.Tensor], torch.Tensor]] = []
        groups: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
        for p in parameters:
            if p.dim() == 2 and min(p.shape) >= 2 and p.numel() <= _MAX_COMPARED:
                groups.setdefault((p.device, p.dtype), []).append(p)
        for alike in groups.values():
            corners = torch.cat([p.detach()[:2, 0] for p in alike]).view(-1, 2)
            self._groups.append((alike, corners[:, 0] == corners[:, 1]))

    def alike_rows(self) -> list[torch.Tensor]:
        """Return the weights of which all rows are equal now, and all rows of the gradient too, and that is not 0.

        To be asked after the step, as this waits for the device: a step moves rows that are alike in the same way.
        """
        found = []
        for parameters, same in self._groups:
            candidates = [p for p, is_same in zip(parameters, same.tolist(), strict=True) if is_same]
            found += [p for p in candidates if p.grad is not None and _rows_are_alike(p.detach(), p.grad)]
        return found


def _rows_are_alike(weight: torch.Tensor, gradient: torch.Tensor) -> bool:
    return bool((weight == weight[:1]).all() & (gradient == gradient[:1]).all() & (gradient != 0).any())


def learning_rate(optimizer: Optimizer) -> float | None:
    """Return the largest learning rate of the groups; None if reading it would wait for the device."""
    rates = [group.get("lr") for group in optimizer.param_groups]
    if not rates or any(r is None or (isinstance(r, torch.Tensor) and r.device.type != "cpu") for r in rates):
        return None
    return max(float(r) for r in rates if r is not None)
