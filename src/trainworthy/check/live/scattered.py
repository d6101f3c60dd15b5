"""Sums that are written back to places some of which are the same: ``x[i] += v`` keeps one of their terms."""

from __future__ import annotations

import weakref
from types import FrameType
from typing import Any

import torch

from trainworthy.check.live.facts_seldom import LostTerms
from trainworthy.check.live.watch import Watch, plain

_SUMS = frozenset("add sub add_ sub_ __add__ __sub__ __iadd__ __isub__ __radd__".split())
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)
_STEPS, _MAX, _MAX_PLACES = 8, 50, 1 << 20


class ScatterWatch:
    """Follows what is taken by integer indices, added to, and stored at the same indices; one at a time.

    Attributes:
        waits: Whether something was taken so, and may be stored again.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.waits = False
        self._of: weakref.ref[torch.Tensor] | None = None
        self._taken: weakref.ref[torch.Tensor] | None = None
        self._sum: weakref.ref[torch.Tensor] | None = None
        self._index: tuple[int, ...] = ()

    def taken(self, args: tuple[Any, ...], out: Any) -> None:
        """Look at ``x[i]``."""
        self.waits = False
        if self.watch.step < _STEPS and len(args) == 2 and isinstance(out, torch.Tensor) and _by_numbers(args[1]):
            self._of, self._taken, self._sum = weakref.ref(args[0]), weakref.ref(out), None
            self._index = _identities(args[1])
            self.waits = True

    def added(self, name: str, args: tuple[Any, ...], out: Any) -> None:
        """Look at what comes next: is something added to what was taken?"""
        if name in _SUMS and isinstance(out, torch.Tensor) and self._taken is not None:
            taken = self._taken()
            if taken is not None and any(one is taken for one in args[:2]):
                self._sum = weakref.ref(out)

    def stored(self, args: tuple[Any, ...], frame: FrameType | None) -> None:
        """Look at ``x[i] = ...``."""
        into, index, value = args[:3]
        of, total = self._of and self._of(), self._sum and self._sum()
        self.waits = False
        if total is None or of is not into or value is not total or _identities(index) != self._index:
            return
        places, distinct = _count(index)
        found = self.watch.facts.lost_terms
        if distinct < places and len(found) < _MAX:
            place = self.watch.place_of(self.watch.finder.find(frame)[0])
            if all(one.place != place for one in found):
                found.append(LostTerms(place=place, places=places, distinct=distinct))


def _parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _by_numbers(index: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.dtype in _INTEGERS and one.dim() for one in _parts(index))


def _identities(index: Any) -> tuple[int, ...]:
    """Tell an index from others: a tuple is made anew for each use of it, its tensors are not."""
    return tuple(id(one) if isinstance(one, torch.Tensor) else hash(str(one)) for one in _parts(index))


def _count(index: Any) -> tuple[int, int]:
    """Return how many places an index names, and how many of them are different."""
    tensors = [one for one in _parts(index) if isinstance(one, torch.Tensor)]
    if not all(plain(one) and one.dtype in _INTEGERS for one in tensors):
        return 0, 0
    rows = torch.stack([one.reshape(-1) for one in torch.broadcast_tensors(*tensors)])
    if rows.shape[1] > _MAX_PLACES:
        return 0, 0
    return rows.shape[1], torch.unique(rows, dim=1).shape[1]
