"""Which gradients are old: by identity of the tensor and its version, never by its numbers.

A gradient is *spent* when ``optimizer.step()`` has used it. If the next backward pass finds the same tensor in the same
version, nobody cleared it: what is added to it is added to something that was used already.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import nn

from trainworthy.check.finding import Place


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


class Contributions:
    """Which backward passes the gradients of parameters come from, since they were last cleared.

    A gradient goes on if the next pass finds the same tensor in the version in which the last one left it.
    """

    def __init__(self) -> None:
        self._known: dict[int, _Parts] = {}
        self._reached: list[torch.Tensor] = []
        self._passes: list[Place] = []
        self._used: list[tuple[int, int]] = []  # passes so far, optimizer

    def begins(self, place: Place, reached: list[torch.Tensor]) -> None:
        """Note a backward pass and the parameters that it reaches."""
        self._passes.append(place)
        self._reached = reached
        for parameter in reached:
            known = self._known.get(id(parameter))
            gradient = parameter.grad
            if known is not None and (
                gradient is None or gradient is not known.ref() or known.version != gradient._version
            ):
                del self._known[id(parameter)]

    def ended(self) -> None:
        """Add the pass to the gradients that it wrote."""
        for parameter in self._reached:
            gradient = parameter.grad
            if gradient is None:
                continue
            known = self._known.get(id(parameter))
            passes = known.passes if known is not None else []
            self._known[id(parameter)] = _Parts(
                weakref.ref(gradient), gradient._version, [*passes, len(self._passes) - 1]
            )
        self._reached = []

    def step(self, optimizer: int, parameters: Iterable[torch.Tensor]) -> tuple[int, Place, Place] | None:
        """Note a step; return how many of its gradients were mixed across another optimizer's step, and from where."""
        given = list(parameters)
        mixed: list[tuple[Place, Place]] = []
        for parameter in given:
            known = self._known.get(id(parameter))
            if known is None or parameter.grad is not known.ref() or len(known.passes) < 2:
                continue
            first, last = known.passes[0], known.passes[-1]
            between = any(first < at <= last and other != optimizer for at, other in self._used)
            if between and self._passes[first] != self._passes[last]:
                mixed.append((self._passes[first], self._passes[last]))
        self._used.append((len(self._passes), optimizer))
        return (len(mixed), *mixed[0]) if mixed and len(mixed) >= 0.9 * len(given) else None


class Clearing:
    """Whether what a backward pass left is gone before the next one; one parameter is looked at, for all."""

    def __init__(self) -> None:
        self._parameter: weakref.ref[torch.Tensor] | None = None
        self._was_there = False

    def chosen(self, reached: list[torch.Tensor]) -> None:
        """Look at one of these from now on, if none was chosen that still is there."""
        if reached and (self._parameter is None or self._parameter() is None):
            self._parameter, self._was_there = weakref.ref(reached[0]), False

    def is_gone(self) -> bool:
        """Say whether the gradient was there after the last pass, and is not now."""
        return self._was_there and not self._is_there()

    def ended(self) -> None:
        """Note what a pass left."""
        self._was_there = self._is_there()

    def _is_there(self) -> bool:
        parameter = self._parameter() if self._parameter is not None else None
        return parameter is not None and parameter.grad is not None


class _Parts:
    __slots__ = ("passes", "ref", "version")

    def __init__(self, ref: weakref.ref[torch.Tensor], version: int, passes: list[int]) -> None:
        self.ref = ref
        self.version = version
        self.passes = passes
