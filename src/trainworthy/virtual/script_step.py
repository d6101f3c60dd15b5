"""Rehearse a function instead of a script: what it returns says what a step is.

==============================  ================================================================
the function returns            a step is
==============================  ================================================================
a loss (a tensor)               call, then ``loss.backward()``; gradients are cleared between steps
a ``Step``                      call, ``loss.backward()``, ``optimizer.step()``, ``zero_grad()``
a function (no tensor)          the function was a setup; what it returned is called for each step
anything, after it ran          the call itself
``backward()`` on its own
==============================  ================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from trainworthy.virtual.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A loss and what minimises it; a rehearsed function may return one.

    >>> Step(loss=loss, optimizer=optimizer)  # doctest: +SKIP
    """

    loss: torch.Tensor
    optimizer: torch.optim.Optimizer | tuple[torch.optim.Optimizer, ...] | None = None


def run_steps(function: Callable[[], Any], session: Session) -> None:
    """Call ``function`` until the wanted steps were seen.

    Raises:
        TypeError: If the function returns nothing that makes a step.
    """
    counter = session.gpu.recorder.steps
    for _ in range(session.steps):
        before, counter.trained = counter.completed, False
        result = function()
        if callable(result) and not isinstance(result, (torch.Tensor, Step)):
            function = result
            result = function()
        _finish_step(result, session, before, function)


def _finish_step(result: Any, session: Session, before: int, function: Any) -> None:
    counter = session.gpu.recorder.steps
    step = result if isinstance(result, Step) else Step(loss=result)
    if not counter.trained:
        loss: Any = step.loss
        if not isinstance(loss, torch.Tensor):
            name = getattr(function, "__qualname__", repr(function))
            raise TypeError(
                f"{name}() returned {type(result).__name__} and ran no backward pass; return a loss (a tensor), "
                "a trainworthy.Step, or a function that runs one step"
            )
        loss.backward()
    optimizers = step.optimizer if isinstance(step.optimizer, tuple) else (step.optimizer,)
    for optimizer in optimizers:
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
    if counter.completed == before:
        counter.finish()
        for parameter in session.gpu.recorder.parameters():
            parameter.grad = None
