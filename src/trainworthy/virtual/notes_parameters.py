"""Who trains a parameter: at every optimizer step, by identity, which have gradients and which optimizer holds them."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainworthy.tape.repeated import made_at, repeated_instances
from trainworthy.tape.source import maker

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_MAX_PARAMETERS = 20_000


@dataclass(slots=True)
class _Followed:
    """A parameter; ``of`` are the steps of the optimizers that hold it, ``others`` those of optimizers that do not."""

    ref: weakref.ref[torch.Tensor]
    name: str
    model: str
    version: int
    of: int = 0
    of_with_gradient: int = 0
    others: int = 0
    others_with_gradient: int = 0
    trainable: bool = True
    ran: bool = False
    holder: int = 0  # the optimizer that stepped with it, or beside it, last
    made_for: bool = False  # some optimizer holds it, whether it stepped or not
    moved: bool = False  # by the script itself


@dataclass(slots=True)
class _Stepped:
    """An optimizer; how often it stepped, and how often none of its trainable parameters had a gradient."""

    class_name: str
    source: int
    cause: int  # where it was made, or gradients were cleared before its last step
    trainable: int = 0
    steps: int = 0
    idle: int = 0
    has_closure: bool = False
    backwards: int = 0
    members: set[int] = field(default_factory=set)


class ParameterNotes:
    """Follows the parameters of every model that is called with gradients, and of every optimizer."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._recorder = gpu.recorder
        self._parameters: dict[int, _Followed] = {}
        self._models: dict[int, weakref.ref[nn.Module]] = {}
        self._optimizers: dict[int, _Stepped] = {}
        self._called: set[int] = set()
        self._made: dict[int, int] = {}  # where an optimizer was made, by its identity
        self._cleared = (0, 0)  # where gradients were cleared last, after how many backward passes since the last step
        self._backwards = 0
        self.repeated: list[dict[str, Any]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        recorder = self._recorder
        hook = register_optimizer_step_pre_hook(self._steps)
        recorder.modules.on_root_enter.append(self._root_enters)
        recorder.modules.on_call.append(self._called_module)
        recorder.backward.on_backward.append(self._backward)
        try:
            with self._origins():
                yield
        finally:
            hook.remove()
            recorder.modules.on_root_enter.remove(self._root_enters)
            recorder.modules.on_call.remove(self._called_module)
            recorder.backward.on_backward.remove(self._backward)

    @contextmanager
    def _origins(self) -> Iterator[None]:
        """Note where optimizers are made and gradients cleared while the context is open."""
        kinds: tuple[Any, ...] = (Optimizer, nn.Module)
        make, clears = Optimizer.__init__, [kind.zero_grad for kind in kinds]

        def made(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            make(optimizer, *args, **kwargs)
            self._made[id(optimizer)] = self._line(sys._getframe(1), optimizer, "__init__")

        def clearing(clear: Any) -> Any:
            @functools.wraps(clear)
            def cleared(thing: Any, *args: Any, **kwargs: Any) -> Any:
                clear(thing, *args, **kwargs)
                self._cleared = (self._line(sys._getframe(1), thing, "zero_grad"), self._backwards)

            return cleared

        Optimizer.__init__ = made  # type: ignore[method-assign, assignment]
        for kind, clear in zip(kinds, clears, strict=True):
            kind.zero_grad = clearing(clear)
        try:
            yield
        finally:
            Optimizer.__init__ = make  # type: ignore[method-assign]
            for kind, clear in zip(kinds, clears, strict=True):
                kind.zero_grad = clear

    def _line(self, frame: FrameType, thing: Any, method: str) -> int:
        return self._recorder.finder.find(maker(frame, thing, (method,)))[0]

    # --- the loop -----------------------------------------------------------------------------------

    def _called_module(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        self._called.add(id(module))

    def _backward(self, outputs: Any) -> None:
        self._backwards += 1

    def _root_enters(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        known = self._models.get(id(module))
        if (known is not None and known() is module) or not torch.is_grad_enabled():
            return
        self._models[id(module)] = weakref.ref(module)
        for found in repeated_instances(module):
            finder = self._recorder.finder
            number, _ = finder.find(sys._getframe(1))
            at = made_at(found.parent, found.container, finder.is_user)
            here = finder.sources[number]
            self.repeated.append({
                "path": finder.relative(at[0]) if at else here.path, "line": at[1] if at else here.line,
                "where": found.path, "container": found.container, "class": found.class_name, "times": found.times,
                "parameters": found.parameters,
            })  # fmt: skip

    def _steps(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Look at everybody's gradients just before a step."""
        source, _ = self._recorder.finder.find(sys._getframe(1))
        held = {id(p): p for group in optimizer.param_groups for p in group["params"] if not is_lazy(p)}
        mine = self._optimizers.get(id(optimizer))
        if mine is None:
            made = self._made.get(id(optimizer), source)
            mine = self._optimizers[id(optimizer)] = _Stepped(type(optimizer).__name__, source, made)
        trainable = [p for p in held.values() if p.requires_grad]
        if self._backwards and self._cleared[1] == self._backwards:
            mine.cause = self._cleared[0]
        mine.members |= set(held)
        mine.steps += 1
        mine.trainable = len(trainable)
        mine.has_closure |= any(callable(a) for a in (*args, *kwargs.values()) if not isinstance(a, Optimizer))
        mine.backwards += self._backwards > 0
        mine.idle += bool(trainable) and all(p.grad is None for p in trainable)
        self._backwards = 0
        made_for = {id(p) for o in self._recorder.steps.optimizers for g in o.param_groups for p in g["params"]}
        for model in list(self._models.values()):
            alive = model()
            if alive is not None:
                self._look_at(alive, held, made_for, list(self._optimizers).index(id(optimizer)))

    def _look_at(self, model: nn.Module, held: dict[int, torch.Tensor], made_for: set[int], number: int) -> None:
        for path, module in model.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is None or is_lazy(parameter) or len(self._parameters) >= _MAX_PARAMETERS:
                    continue
                known = self._parameters.get(id(parameter))
                if known is None or known.ref() is not parameter:
                    known = self._parameters[id(parameter)] = _Followed(
                        weakref.ref(parameter), f"{path}.{name}" if path else name, type(model).__name__,
                        parameter._version,
                    )  # fmt: skip
                known.ran |= id(module) in self._called
                known.trainable &= parameter.requires_grad
                known.made_for |= id(parameter) in made_for
                known.moved |= parameter._version != known.version
                if id(parameter) in held or not known.of:
                    known.holder = number
                if id(parameter) in held:
                    known.of += 1
                    known.of_with_gradient += parameter.grad is not None
                else:
                    known.others += 1
                    known.others_with_gradient += parameter.grad is not None

    # --- results ------------------------------------------------------------------------------------

    def notes(self) -> dict[str, Any]:
        """Return optimizers, where they step and were made, and the parameters that are not trained as most are."""
        sources = self._recorder.finder.sources
        optimizers = [
            {
                "class": one.class_name, "path": sources[one.source].path, "line": sources[one.source].line,
                "cause": [sources[one.cause].path, sources[one.cause].line], "trainable": one.trainable,
                "steps": one.steps, "idle": one.idle, "closure": one.has_closure, "backwards": one.backwards,
            }
            for one in self._optimizers.values()
        ]  # fmt: skip
        return {"optimizers": optimizers, "models": self._models_noted()}

    def _models_noted(self) -> list[dict[str, Any]]:
        noted: dict[str, dict[str, Any]] = {}
        for one in self._parameters.values():
            if not one.trainable:
                continue
            model = noted.setdefault(one.model, {
                "model": one.model, "trainable": 0, "optimised": 0, "without_gradient": [], "not_held": [],
            })  # fmt: skip
            model["trainable"] += 1
            model["optimised"] += one.of > 0
            if one.of >= 2 and not one.of_with_gradient and not one.others_with_gradient:
                model["without_gradient"].append([one.name, one.of, one.ran, one.holder])
            always = one.others >= 2 and one.others == one.others_with_gradient
            if always and not one.made_for and not one.moved:
                model["not_held"].append([one.name, one.others, one.holder])
        return list(noted.values())
