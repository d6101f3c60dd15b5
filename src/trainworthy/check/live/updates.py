"""Which elements of parameters a step should move, and which of them it moved: a few parameters, the first elements."""

from __future__ import annotations

from typing import NamedTuple

import torch

_SAMPLED = 4  # parameters of an optimizer
_ELEMENTS = 1024  # of each
_FIRST, _EVERY = 3, 4  # steps
_LOW = (torch.bfloat16, torch.float16)


class Rhythm:
    """At which of an optimizer's steps its updates are looked at: the first ones, some, and all after a suspicious one.

    Attributes:
        suspects: Whether the last look saw something that several steps in a row must show.
    """

    def __init__(self) -> None:
        self.suspects = False
        self._steps = 0

    def is_due(self) -> bool:
        """Count a step; tell whether to look at it.

        >>> rhythm = Rhythm()
        >>> [rhythm.is_due() for _ in range(9)]
        [True, True, True, False, True, False, False, False, True]
        """
        self._steps += 1
        return self.suspects or self._steps <= _FIRST or self._steps % _EVERY == 1


class _Alike(NamedTuple):
    """Parameters of one device and dtype, looked at together: few operations, as they are done at every step."""

    parameters: list[torch.Tensor]
    sizes: list[int]
    before: torch.Tensor
    moves: torch.Tensor


class Updates:
    """Some parameters before a step.

    An element *should move* if it has a gradient; in full precision, one that plain gradient descent would not round
    away.
    """

    def __init__(self, candidates: list[torch.Tensor], rate: float) -> None:
        groups: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = {}
        for parameter in candidates[:: max(1, -(-len(candidates) // _SAMPLED))]:
            groups.setdefault((parameter.device, parameter.dtype), []).append(parameter)
        self._groups = [_alike(parameters, rate) for parameters in groups.values()]
        self.parameters = [p for group in self._groups for p in group.parameters]

    def readings(self) -> list[torch.Tensor]:
        """Return, after the step and for each parameter: how many elements should move, how many of them stayed."""
        found = []
        for group in self._groups:
            stayed = (_heads(group.parameters) == group.before) & group.moves
            for moves, stays in zip(group.moves.split(group.sizes), stayed.split(group.sizes), strict=True):
                found += [moves.sum(), stays.sum()]
        return found

    def unmoved(self, numbers: list[float]) -> list[torch.Tensor]:
        """Return the parameters of which nothing moved that should, given the readings as numbers."""
        pairs = zip(self.parameters, numbers[::2], numbers[1::2], strict=True)
        return [p for p, moves, stays in pairs if moves > 0 and moves == stays]

    def rounded_share(self, numbers: list[float]) -> float | None:
        """Return which share of the elements in low precision stayed; None if there are none."""
        low = [i for i, p in enumerate(self.parameters) if p.dtype in _LOW]
        total = sum(numbers[2 * i] for i in low)
        return sum(numbers[2 * i + 1] for i in low) / total if total else None

    def low_precision(self) -> str | None:
        """Name the low precision of the first parameter that has it."""
        return next((str(p.dtype).removeprefix("torch.") for p in self.parameters if p.dtype in _LOW), None)


def _alike(parameters: list[torch.Tensor], rate: float) -> _Alike:
    before = _heads(parameters)
    gradients = _heads([p.grad for p in parameters if p.grad is not None])
    moves = gradients != 0
    if before.dtype not in _LOW:
        unit = 4 * torch.finfo(before.dtype).eps if before.is_floating_point() else 0.0
        moves &= gradients.abs() * rate > unit * before.abs()
    return _Alike(parameters, [min(p.numel(), _ELEMENTS) for p in parameters], before, moves)


def _heads(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().view(-1)[:_ELEMENTS] for tensor in tensors])
