"""One run of a step function, with what it did: calls of models, the loss, gradients when the optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from trainworthy.check.finding import Place
from trainworthy.check.live.undo import Kept
from trainworthy.errors import UsageError
from trainworthy.virtual.nested import with_tensors

Place_ = Callable[[], Place]


@dataclass(slots=True)
class RootCall:
    """A call, in training, of a module that no other module called."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: Place


@dataclass(slots=True)
class Trial:
    """What a run of the step did. ``gradients`` are those at the first step of an optimizer, or at the end."""

    calls: list[RootCall] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    gradients: dict[int, torch.Tensor] = field(default_factory=dict)
    stepped: bool = False
    place: Place | None = None  # of the last backward pass


class Runner:
    """Runs a step function, and finishes what it leaves to do, as ``rehearse`` does: backward, step, zero_grad.

    ``alter`` may change what a model gives, where it is called by the step.
    """

    def __init__(self, kept: Kept, place: Place_) -> None:
        self.kept = kept
        self.place = place
        self.alter: Callable[[RootCall, Any], Any] | None = None

    def run(self, function: Callable[..., Any], *args: Any) -> Trial:
        """Run ``function`` once.

        Raises:
            UsageError: If it neither runs a backward pass nor returns a loss.
        """
        trial = Trial()
        with self._watching(trial):
            result = function(*args)
            if not trial.losses:
                _finish(result, function)
        if not trial.stepped:
            trial.gradients = self._gradients()
        return trial

    def _gradients(self) -> dict[int, torch.Tensor]:
        return {
            id(p): p.grad.detach().clone()
            for model in self.kept.models.values()
            for p in model.parameters() if p.grad is not None
        }  # fmt: skip

    @contextmanager
    def _watching(self, trial: Trial) -> Iterator[None]:
        call, backward = nn.Module.__call__, torch.autograd.backward
        depth = 0

        def called(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            nonlocal depth
            if depth or isinstance(module, nn.modules.loss._Loss):
                return call(module, *args, **kwargs)
            self.kept.meet(module)
            depth += 1
            try:
                out = call(module, *args, **kwargs)
            finally:
                depth -= 1
            if torch.is_grad_enabled() and module.training:
                args, kwargs = with_tensors((args, kwargs), torch.Tensor.detach)
                root = RootCall(module, args, kwargs, self.place())
                trial.calls.append(root)
                if self.alter is not None:
                    out = self.alter(root, out)
            return out

        def noted(tensors: Any, *args: Any, **kwargs: Any) -> None:
            trial.losses += _numbers(tensors)
            trial.place = self.place()
            backward(tensors, *args, **kwargs)

        hook = register_optimizer_step_pre_hook(lambda optimizer, *_: self._steps(trial, optimizer))
        nn.Module.__call__ = called  # type: ignore[method-assign]
        torch.autograd.backward = noted
        try:
            yield
        finally:
            torch.autograd.backward = backward
            nn.Module.__call__ = call  # type: ignore[method-assign]
            hook.remove()

    def _steps(self, trial: Trial, optimizer: Optimizer) -> None:
        self.kept.meet(optimizer)
        if not trial.stepped:
            trial.stepped = True
            trial.gradients = self._gradients()


def _numbers(tensors: Any) -> list[float]:
    """Return the losses that a backward pass begins with, where they are one number each."""
    given = tensors if isinstance(tensors, (list, tuple)) else (tensors,)
    return [float(tensor.detach()) for tensor in given if tensor.numel() == 1]


def _finish(result: Any, function: Any) -> None:
    loss, optimizers = getattr(result, "loss", result), getattr(result, "optimizer", None)
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        name = getattr(function, "__qualname__", repr(function))
        raise UsageError(
            f"{name}() returned {type(result).__name__} and ran no backward pass.", where="trainworthy.probe",
            fix="Return the loss (a tensor), a trainworthy.Step, or run the whole step.",
        )  # fmt: skip
    loss.backward()
    for optimizer in optimizers if isinstance(optimizers, tuple) else (optimizers,):
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
