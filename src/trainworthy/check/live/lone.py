"""One sample where there should be a batch: a model is given the first alone, and its result meets all targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trainworthy.check.live.facts_seldom import LoneRow
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.watch import Watch, plain

_STEPS, _MAX_FOUND = 8, 64
_LEAST = 4  # targets, texts
_DIFFERENCES = frozenset("sub rsub subtract mse_loss l1_loss smooth_l1_loss huber_loss".split())


class LoneWatch:
    """Notes, in the first steps, single rows beside several."""

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators
        self.texts: Callable[[], int] = lambda: 0  # in the last batch of a loader

    def module_called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at what a model is given, if the batch has texts."""
        count = self.texts()
        if count < _LEAST or self.watch.step >= _STEPS or not module.training:
            return
        tensors = [t for t in tensors_in([*args, *kwargs.values()]) if plain(t)]
        alone = [t for t in tensors if t.dim() >= 2 and t.shape[0] == 1 < t.numel() and not t.is_floating_point()]
        if alone and any(t.dim() >= 2 and t.shape[0] == count for t in tensors):
            self._note(self.watch.facts.forwards[-1].place, count, alone[0], of_texts=True)

    def met(self, name: str, args: tuple[Any, ...], source: int) -> None:
        """Look at two operands, where a model was given one sample."""
        if len(args) < 2 or self.watch.step >= _STEPS or not all(isinstance(one, torch.Tensor) for one in args[:2]):
            return
        said, targets = args[:2] if args[0].requires_grad else (args[1], args[0])
        several = targets.numel() >= _LEAST and targets.numel() == targets.shape[0] and not targets.requires_grad
        if not several or not said.requires_grad or self.operators.broadcasts.batch != 1:
            return
        stretched = said.shape == targets.shape and said.dim() and said.stride(0) == 0
        is_one = said.numel() == 1 and said.dim() and name.strip("_") in _DIFFERENCES
        given = next(reversed(self.operators.root_inputs.values()), None)
        if (stretched or is_one) and given is not None and bool((targets != targets[0]).any()):
            self._note(self.watch.place_of(source), targets.numel(), given, of_texts=False)

    def _note(self, place: Any, count: int, given: torch.Tensor, *, of_texts: bool) -> None:
        found = self.watch.facts.lone_rows
        if len(found) < _MAX_FOUND:
            with self.watch.own_work():
                content = float(given.double().sum()) + given.numel()
            found.append(LoneRow(step=self.watch.step, place=place, count=count, shape=tuple(given.shape),
                                 content=content, of_texts=of_texts))  # fmt: skip
