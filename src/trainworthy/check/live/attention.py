"""Attention whose weights are normalised over the queries: do they sum to 1 where values are added up?

While a model runs, products of two tensors that it computed are followed to a softmax, and that to a product with
values. Weights sum to 1 along the axis that this product sums over; if they sum to 1 along the other one, and not along
this, the softmax ran over the wrong axis. Only square ones are judged: there, keys are the same positions as queries,
while a softmax over clusters or slots gives each of them its share of every position on purpose. Of any shape are those
judged that sum to 1 over all samples of a batch together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import OverQueries

_aten = torch.ops.aten
_SOFTMAX = _aten._softmax.default
_PRODUCTS = (_aten.bmm.default, _aten.mm.default)
_EQUAL, _UNEQUAL = 1e-4, 1e-3  # of sums that are 1
_KEPT = frozenset({
    "view", "_unsafe_view", "reshape", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "clone",
    "contiguous", "_to_copy", "detach", "alias", "mul", "mul_", "div", "div_", "add", "add_", "sub", "sub_",
    "masked_fill", "masked_fill_", "where", "_reshape_alias", "slice", "select", "native_dropout", "tanh",
})  # fmt: skip


class AttentionWatch(TorchDispatchMode):
    """Follows scores to weights and weights to values, in what runs without gradients."""

    def __init__(self, model: nn.Module, place: Callable[[], Place]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.found: list[OverQueries] = []
        self._name = type(model).__name__
        self._own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self._scores = WeakTensorKeyDictionary()
        self._weights = WeakTensorKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is _SOFTMAX:
            if args[0] in self._scores:
                self._weights[out] = self.place()
        elif func in _PRODUCTS:
            self._multiplied(args[0], args[1], out)
        elif isinstance(out, torch.Tensor) and func.__name__.partition(".")[0] in _KEPT:
            for marks in (self._scores, self._weights):
                mark = next((marks[t] for t in args if isinstance(t, torch.Tensor) and t in marks), None)
                if mark is not None:
                    marks[out] = mark
        return out

    def _multiplied(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
        for weights, summed, other in ((left, -1, -2), (right, -2, -1)):
            place = self._weights.get(weights)
            square = weights.shape[-1] == weights.shape[-2] > 1
            if place is None or not _differs(weights.sum(summed)):
                continue
            if square and _is_one(weights.sum(other)):
                self._note(place, weights.shape[-1])
            elif _is_over_samples(weights.movedim(summed, -1)):
                self._note(place, weights.shape[summed], samples=weights.shape[0])
        if not any(t.untyped_storage().data_ptr() in self._own for t in (left, right)):
            self._scores[out] = True

    def _note(self, place: Place, length: int, samples: int = 1) -> None:
        if all(one.place != place for one in self.found):
            self.found.append(OverQueries(
                place=place, model=self._name, length=length, samples=samples, used=self.place()
            ))  # fmt: skip


def _is_over_samples(weights: torch.Tensor) -> bool:
    """Say whether weights of several samples and of several positions sum to 1 over all samples, at each position."""
    several = weights.dim() == 3 and weights.shape[0] > 1 and weights.shape[-1] > 1
    return several and _is_one(weights.flatten(0, 1).sum(0))


def _is_one(sums: torch.Tensor) -> bool:
    return bool(((sums - 1).abs() <= _EQUAL).all())


def _differs(sums: torch.Tensor) -> bool:
    return bool(torch.isfinite(sums).all()) and bool(((sums - 1).abs() > _UNEQUAL).any())
