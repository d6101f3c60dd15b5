"""Where one optimizer step ends and the next begins."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from trainworthy.tape.build import parameter_groups

if TYPE_CHECKING:
    from trainworthy.tape.record import ParameterGroup
    from trainworthy.tape.recorder import Recorder

# A round of several optimizers ends when each has stepped; one that never steps ends it not.
_MAX_STEPS_PER_ROUND = 16


class StepCounter:
    """Counts optimizer steps (rounds, if there are several optimizers) and follows the loop.

    ``current`` is 0 before training, then the number of the step being run. ``on_step_end`` are
    called with the number of the step that ended.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.current = 0
        self.completed = 0
        self.in_optimizer = False
        self.forwarded = False
        self.evaluating = False
        self.in_loss_module = False
        self.on_step_end: list[Callable[[int], None]] = []
        self.on_train_forward: list[Callable[[], None]] = []
        self.trained = False
        self.parameter_groups: tuple[ParameterGroup, ...] = ()
        self._optimizers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._stepped: dict[int, int] = {}
        self._manual_backwards = 0
        self._marked: set[tuple[int, int]] = set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to optimizers and to the outermost modules while the context is open."""
        modules = self._recorder.modules
        modules.on_root_enter.append(self._root_enters)
        modules.on_root_exit.append(self._root_exits)
        pre = register_optimizer_step_pre_hook(self._optimizer_begins)
        post = register_optimizer_step_post_hook(self._optimizer_ended)
        init, counter = Optimizer.__init__, self

        def noted(self: Optimizer, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            counter._optimizers.add(self)

        Optimizer.__init__ = noted  # type: ignore[method-assign]
        try:
            yield
        finally:
            Optimizer.__init__ = init  # type: ignore[method-assign]
            pre.remove()
            post.remove()
            modules.on_root_enter.remove(self._root_enters)
            modules.on_root_exit.remove(self._root_exits)

    @property
    def optimizers(self) -> list[Optimizer]:
        """Optimizers made so far and still alive."""
        return list(self._optimizers)

    def begin(self) -> None:
        """Begin the first step, if it has not begun."""
        if self.current == 0:
            self.current = 1

    def finish(self) -> None:
        """End a step that was made by hand and waits for its end."""
        if self._manual_backwards:
            self._end_step()

    # --- the loop as it is seen from modules, the engine and optimizers -----------------------

    def _root_enters(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._recorder.backward.in_backward:  # recomputed, not called by the loop
            return
        self._was_in_optimizer, self.in_optimizer = self.in_optimizer, False
        self.in_loss_module = isinstance(module, nn.modules.loss._Loss)
        if self.in_loss_module:
            return
        if self._recorder.backward.grad_enabled:
            self._end_manual_step()
            for listener in self.on_train_forward:
                listener()
            self.begin()
        else:
            self.evaluating = not module.training
        self._mark(module, (*args, *kwargs.values()))

    def _root_exits(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._recorder.backward.in_backward:
            return
        self.in_optimizer = self._was_in_optimizer
        if not self.in_loss_module and self._recorder.backward.grad_enabled:
            self.forwarded = True
        self.in_loss_module = self.evaluating = False

    def _mark(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        recorder = self._recorder
        flat = [t for v in inputs for t in (v if isinstance(v, (list, tuple)) else (v,))]
        recorder.mark((t for t in flat if isinstance(t, torch.Tensor) and t.grad_fn is None), "input")
        if (id(module), self.current) not in self._marked:
            self._marked.add((id(module), self.current))
            recorder.mark(module.parameters(), "parameter", overwrite=True)
            recorder.mark(module.buffers(), "buffer", overwrite=True)

    def backward_begins(self) -> None:
        """Called before the engine runs."""
        self.begin()
        self.trained = True
        self._recorder.mark_saved()

    def forward_outside(self) -> None:
        """Called when parameters enter an operation outside of all modules."""
        self._end_manual_step()
        self.begin()

    def _end_manual_step(self) -> None:
        if self._manual_backwards and not self._optimizers:
            self._end_step()

    def backward_ended(self, *, final: bool) -> None:
        """Called after the engine ran; ``final`` if it made gradients for an update."""
        self._recorder.mark_gradients()
        if not final:
            return
        self.forwarded = False
        if not self._optimizers:
            self._manual_backwards += 1

    def _optimizer_begins(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.begin()
        self._optimizers.add(optimizer)
        self.in_optimizer = True
        recorder = self._recorder
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                recorder.mark((parameter,), "parameter", overwrite=True)
                if parameter.grad is not None:
                    recorder.mark((parameter.grad,), "gradient", overwrite=True)
        return (
            tuple(self._outside(a) if callable(a) else a for a in args),
            {k: self._outside(v) if callable(v) else v for k, v in kwargs.items()},
        )

    def _outside(self, closure: Callable[..., Any]) -> Callable[..., Any]:
        """Run the closure of ``step(closure)`` as part of the loop, not of the optimizer."""

        def run(*args: Any, **kwargs: Any) -> Any:
            before, self.in_optimizer = self.in_optimizer, False
            try:
                return closure(*args, **kwargs)
            finally:
                self.in_optimizer = before
                for optimizer in self._optimizers:
                    for group in optimizer.param_groups:
                        self._recorder.mark((p.grad for p in group["params"]), "gradient", overwrite=True)

        return run

    def _optimizer_ended(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.in_optimizer = False
        self._manual_backwards = 0
        for state in optimizer.state.values():
            if isinstance(state, dict):
                self._recorder.mark(_deep_tensors(state), "optimizer_state")
        self._stepped[id(optimizer)] = self._stepped.get(id(optimizer), 0) + 1
        waiting = [o for o in self._optimizers if id(o) not in self._stepped]
        if not waiting or self._stepped[id(optimizer)] >= _MAX_STEPS_PER_ROUND:
            self._end_step()

    def _end_step(self) -> None:
        self._stepped.clear()
        self._manual_backwards = 0
        self.forwarded = False
        # Now, because some trainers move the model away when they are done, or it is gone by then.
        self._recorder.modules.note()
        self.parameter_groups = parameter_groups(self._recorder)
        ended = self.current
        self.completed = ended
        self.current = ended + 1
        for listener in list(self.on_step_end):
            listener(ended)


def _deep_tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _deep_tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _deep_tensors(item)
