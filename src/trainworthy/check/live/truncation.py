"""Fractions that are written into tensors of integers, which cut them off and say nothing."""

from __future__ import annotations

import math
from typing import Any

import torch

from trainworthy.check.live.facts_seldom import Truncation
from trainworthy.check.live.watch import Watch, plain

# What writes a value, and where it stands among the arguments, and by which name.
WRITERS = {
    "fill_": (1, "value"), "masked_fill_": (2, "value"), "masked_fill": (2, "value"), "index_fill_": (3, "value"),
    "index_fill": (3, "value"), "scatter_": (3, "value"), "scatter": (3, "value"), "copy_": (1, "src"),
    "__setitem__": (2, "value"),
}  # fmt: skip
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8)  # pictures are cut to uint8 on purpose
_STEPS, _MAX, _MAX_NUMBERS = 8, 50, 1 << 20


class TruncationWatch:
    """Notes each line whose fractions become whole numbers, with one of them."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def written(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], source: int) -> None:
        """Look at a call that writes into a tensor, ``args[0]``."""
        found = self.watch.facts.truncations
        into = args[0]
        if into.dtype not in _INTEGERS or self.watch.step >= _STEPS or len(found) >= _MAX:
            return
        at, keyword = WRITERS[name]
        value = _fraction(args[at] if len(args) > at else kwargs.get(keyword))
        if value is not None:
            place = self.watch.place_of(source)
            if all(one.place != place for one in found):
                found.append(Truncation(place=place, value=value, dtype=str(into.dtype).rpartition(".")[2]))


def _fraction(value: Any) -> float | None:
    """Return a fraction that a value is or holds; of tensors, only if they hold none above 1: those may be rounded."""
    if isinstance(value, float):
        return value if math.isfinite(value) and not value.is_integer() else None
    if not isinstance(value, torch.Tensor) or not value.is_floating_point() or not plain(value):
        return None
    if not 0 < value.numel() <= _MAX_NUMBERS or bool((value.abs() > 1).any()):
        return None
    fractions = value[(value != 0) & (value.abs() < 1)]
    return float(fractions[0]) if len(fractions) else None
