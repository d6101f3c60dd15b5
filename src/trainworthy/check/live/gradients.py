"""Which gradients are old: by identity of the tensor and its version, never by its numbers.

A gradient is *spent* when ``optimizer.step()`` has used it. If the next backward pass finds the same tensor in the same
version, nobody cleared it: what is added to it is added to something that was used already.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import nn


class _Spent:
    __slots__ = ("mixed", "ref", "version")

    def __init__(self, gradient: torch.Tensor) -> None:
        self.ref = weakref.ref(gradient)
        self.version = gradient._version
        self.mixed = False


class Gradients:
    """Follows the gradients of the parameters that optimizers step."""

    def __init__(self) -> None:
        self._spent: dict[int, tuple[weakref.ref[nn.Parameter], _Spent]] = {}

    def before_backward(self) -> None:
        """Forget gradients that were cleared or written to since the last look."""
        for key, (ref, spent) in list(self._spent.items()):
            parameter = ref()
            gradient = parameter.grad if parameter is not None else None
            if gradient is None or gradient is not spent.ref() or gradient._version != spent.version:
                del self._spent[key]

    def after_backward(self) -> None:
        """See which spent gradients were added to."""
        for ref, spent in self._spent.values():
            parameter = ref()
            gradient = parameter.grad if parameter is not None else None
            if gradient is not None and gradient is spent.ref() and gradient._version != spent.version:
                spent.version = gradient._version
                spent.mixed = True

    def stale(self, parameters: Iterable[torch.Tensor]) -> int:
        """Count the parameters that are about to be updated by a gradient with spent parts."""
        return sum(1 for p in parameters if self._is(p, mixed=True))

    def spent(self, gradients: Iterable[torch.Tensor]) -> bool:
        """Tell whether all of some gradients were used by a step already, and not added to since."""
        known = {}
        for ref, spent in self._spent.values():
            gradient = spent.ref()
            if gradient is not None and ref() is not None and not spent.mixed:
                known[id(gradient)] = spent.version
        given = list(gradients)
        return bool(given) and all(known.get(id(g)) is not None for g in given)

    def step(self, parameters: Iterable[torch.Tensor]) -> None:
        """Remember that these gradients were used."""
        for parameter in parameters:
            if isinstance(parameter, nn.Parameter) and parameter.grad is not None:
                self._spent[id(parameter)] = (weakref.ref(parameter), _Spent(parameter.grad))
            else:
                self._spent.pop(id(parameter), None)

    def _is(self, parameter: torch.Tensor, *, mixed: bool) -> bool:
        found = self._spent.get(id(parameter))
        if found is None or found[0]() is not parameter:
            return False
        gradient = parameter.grad
        return gradient is not None and gradient is found[1].ref() and found[1].mixed == mixed
