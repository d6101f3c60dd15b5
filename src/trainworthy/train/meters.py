"""Means over a window of steps, kept where they arise (on the device) and read from there only when logged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.train.recipe import Number

if TYPE_CHECKING:
    from torch import Tensor

Reduce = Callable[["Tensor"], "Tensor"]  # sums over ranks, element by element; takes and returns a CPU tensor

_FULL = 1024  # entries after which a column is summed up, so that a window of any length takes bounded memory


@dataclass(slots=True)
class _Column:
    totals: list[Number] = field(default_factory=list)
    weights: list[Number] = field(default_factory=list)


class Meters:
    """Sums and weights of each metric, one entry a step, since the last reading.

    Every rank adds the same names in the same order, so that one element-wise sum over ranks joins them. The entries
    themselves are kept, not a running sum: what is read after a resume is then equal to the last bit.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def add(self, name: str, total: Number, weight: Number) -> None:
        """Add one step's sum and weight; tensors stay on their device."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = _Column()
        column.totals.append(total)
        column.weights.append(weight)
        if len(column.totals) >= _FULL:
            column.totals, column.weights = [_vector(column.totals).sum()], [_vector(column.weights).sum()]

    def read(self, reduce: Reduce | None = None) -> dict[str, float]:
        """Return the mean of each metric over all ranks, and begin a new window.

        A mean that is not a number is returned as it is; the mean over no items is NaN.
        """
        tables = self.state(reduce)
        self._columns = {}
        return {name: _mean(table) for name, table in tables.items()}

    def state(self, reduce: Reduce | None = None) -> dict[str, Tensor]:
        """Return the entries, (2, entries) for each name in float64 on the CPU, summed over all ranks."""
        tables = {
            name: torch.stack([_vector(column.totals), _vector(column.weights)])
            for name, column in self._columns.items()
        }
        if reduce is None or not tables:
            return tables
        joined = reduce(torch.cat(list(tables.values()), dim=1))
        parts = joined.split([table.shape[1] for table in tables.values()], dim=1)
        return dict(zip(tables, parts, strict=True))

    def load_state(self, state: dict[str, Tensor], *, counts: bool) -> None:
        """Go on from the entries of :meth:`state`; only one rank counts them, the others put zeros in their places."""
        self._columns = {}
        for name, table in state.items():
            totals, weights = (table if counts else torch.zeros_like(table)).tolist()
            self._columns[name] = _Column(totals, weights)


def _vector(values: list[Number]) -> Tensor:
    """Return the values as float64 on the CPU, with at most one transfer from a device."""
    if not any(isinstance(each, torch.Tensor) for each in values):
        return torch.tensor(values, dtype=torch.float64)
    like: Any = next(each for each in values if isinstance(each, torch.Tensor))
    scalars = [torch.as_tensor(each, dtype=torch.float64, device=like.device).reshape(()) for each in values]
    return torch.stack(scalars).cpu()


def _mean(table: Tensor) -> float:
    total, weight = table.sum(dim=1).tolist()
    return total / weight if weight else math.nan
