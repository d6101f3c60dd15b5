"""One sample alone: is its batch axis still there at the end, or did a squeeze without an axis take it, too?

The model is run on the batch and on its first sample, and the squeezes of both runs are laid side by side: one that
removes more axes for one sample than for several has removed that of the batch. What comes of it decides: a result
that lacks the axis, or an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import Alone
from trainworthy.check.live.loaders import tensors_in
from trainworthy.virtual.nested import with_tensors

_SQUEEZES = (torch.ops.aten.squeeze.default, torch.ops.aten.squeeze_.default)


class _Squeeze(NamedTuple):
    given: tuple[int, ...]
    removed: int
    place: Place


class _Squeezes(TorchDispatchMode):
    """Writes down every squeeze without an axis."""

    def __init__(self, place: Callable[[], Place]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.seen: list[_Squeeze] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _SQUEEZES:
            return func(*args, **(kwargs or {}))
        given = tuple(args[0].shape)
        out = func(*args, **(kwargs or {}))
        self.seen.append(_Squeeze(given, len(given) - out.dim(), self.place()))
        return out


def alone(
    twin: nn.Module, args: Any, kwargs: Any, *, size: int, place: Callable[[], Place], name: str
) -> Iterator[Alone]:
    """Yield the squeeze that takes the batch axis of the first sample, if the model's result shows it.

    ``twin`` is a copy in evaluation mode; tensors among ``args`` and ``kwargs`` whose first axis is ``size`` long are
    cut to their first sample.
    """
    with _Squeezes(place) as together:
        several = [tuple(t.shape) for t in tensors_in(_listed(twin(*args, **kwargs)))]
    if not together.seen:
        return

    def first_only(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:1] if tensor.dim() and tensor.shape[0] == size else tensor

    one_args, one_kwargs = with_tensors((args, kwargs), first_only)
    error, one = "", []
    with _Squeezes(place) as single:
        try:
            one = [tuple(t.shape) for t in tensors_in(_listed(twin(*one_args, **one_kwargs)))]
        except Exception as raised:  # whatever the model raises is what one sample leads to
            error = f"{type(raised).__name__}: {str(raised).partition(chr(10))[0]}"
    pairs = zip(together.seen, single.seen, strict=False)
    taken = [b for a, b in pairs if b.removed > a.removed and a.place == b.place and _is_cut(a.given, b.given, size)]
    lost = [(a, b) for a, b in zip(several, one, strict=False) if a[:1] == (size,) and b == a[1:]]
    if not taken or not (error or lost):
        return
    shapes = lost[0] if lost else ((), ())
    yield Alone(
        place=taken[0].place, model=name, given=taken[0].given, size=size, several=shapes[0], one=shapes[1],
        error=error,
    )  # fmt: skip


def _is_cut(several: tuple[int, ...], one: tuple[int, ...], size: int) -> bool:
    return len(several) == len(one) and all(a in (b, size) for a, b in zip(several, one, strict=True))


def _listed(value: Any) -> list[Any]:
    return [value.to_tuple() if hasattr(value, "to_tuple") else value]
