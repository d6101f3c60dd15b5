"""The first operation through which one sample of a batch reaches others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainworthy.check.finding import Place
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.watch import Watch

_MAX_BYTES = 256 * 1024**2
_Results = list[tuple[str, int, list[torch.Tensor]]]  # operation, number of the line, tensors


class _Recording(TorchDispatchMode):
    """Keeps a copy of what each operation gives, with the user's line, as long as there is room."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.finder = watch.finder
        self.results: _Results = []
        self._left = _MAX_BYTES

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [t for t in tensors_in([out]) if t.dim()]
        self._left -= sum(t.numel() * t.element_size() for t in made)
        if made and self._left > 0:
            line = self.finder.find_above(sys._getframe(1), first_spread.__code__)
            self.results.append((str(func), line, [t.detach().clone() for t in made]))
        return out


def first_spread(
    run: Callable[[], Any], change: Callable[[], Callable[[], None]], size: int, watch: Watch
) -> Place | None:
    """Run a model twice, with another first sample the second time; return where other samples begin to move.

    ``change`` puts the other sample in, and returns what takes it out again. None if the runs do different things,
    need more room than 256 MiB, or if no line of the user's is within the model.
    """
    before, after = _Recording(watch), _Recording(watch)
    with before:
        run()
    undo = change()
    try:
        with after:
            run()
    finally:
        undo()
    for (name, at, old), (other, _, new) in zip(before.results, after.results, strict=False):
        if name != other or [t.shape for t in old] != [t.shape for t in new]:
            return None
        if any(not _is_of_first(a, b, size) for a, b in zip(old, new, strict=True)):
            return watch.place_of(at) if at else None
    return None


def _is_of_first(old: torch.Tensor, new: torch.Tensor, size: int) -> bool:
    """Say whether what changed is the first sample's along some axis: samples may be joined with another axis."""
    moved = ~torch.isclose(old, new, equal_nan=True) if old.is_floating_point() else old != new
    if not bool(moved.any()):
        return True
    for axis, length in enumerate(moved.shape):
        if length % size:
            continue
        along = moved.movedim(axis, 0).reshape(length, -1).any(dim=1)
        if not bool(along[length // size :].any()) or not bool(along.reshape(-1, size)[:, 1:].any()):
            return True
    return False
