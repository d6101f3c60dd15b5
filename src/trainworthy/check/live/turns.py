"""What one rank does in one turn of a process group, and whether two ranks do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import CollectiveWhat

Shapes = tuple[tuple[int, ...], ...]


class Turn(NamedTuple):
    """A collective as one rank sees it.

    Attributes:
        operation: Its name in ``torch.distributed``.
        dtype: Of what is sent; empty if nothing is.
        shapes: Those that must be equal on all ranks.
        sends: The shape for each rank of the world, where ranks may be sent different shapes.
        receives: The shape from each rank.
        root: The rank that sends or receives for all; -1 if there is none.
        trail: The lines of the last turns and this one, as ``path:line``.
    """

    operation: str
    dtype: str = ""
    shapes: Shapes = ()
    sends: dict[int, tuple[int, ...]] = {}  # noqa: RUF012 - never changed
    receives: dict[int, tuple[int, ...]] = {}  # noqa: RUF012
    root: int = -1
    group: str = ""
    number: int = 0
    trail: tuple[str, ...] = ()
    place: Place | None = None

    def told(self) -> list[Any]:
        """Return what other ranks are told, as JSON can hold it."""
        sends, receives = list(self.sends.items()), list(self.receives.items())
        return [
            self.operation,
            self.dtype,
            self.shapes,
            sends,
            receives,
            self.root,
            self.group,
            self.number,
            self.trail,
        ]

    @classmethod
    def read(cls, told: list[Any]) -> Turn:
        """Undo ``told``."""
        operation, dtype, shapes, sends, receives, root, group, number, trail = told
        return cls(
            operation, dtype, tuple(tuple(s) for s in shapes), {r: tuple(s) for r, s in sends},
            {r: tuple(s) for r, s in receives}, root, group, number, tuple(trail),
        )  # fmt: skip

    def words(self, other: int) -> str:
        """Say what is done, as seen beside rank ``other``."""
        parts = [self.operation]
        if self.shapes:
            parts.append("of " + ", ".join(str(s) for s in self.shapes[:3]))
        elif self.sends or self.receives:
            parts.append(f"that sends {self.sends.get(other)} to rank {other} and expects {self.receives.get(other)}")
        if self.dtype:
            parts.append(self.dtype)
        if self.root >= 0:
            parts.append(f"with root {self.root}")
        return " ".join(parts)


def difference(mine: Turn, other: Turn, me: int, rank: int) -> CollectiveWhat | None:
    """Say in what two ranks differ in the same turn of a group; None if they fit together."""
    if mine.operation != other.operation:
        return "operation"
    if mine.root != other.root:
        return "root"
    if mine.dtype and other.dtype and mine.dtype != other.dtype:
        return "dtype"
    if mine.shapes != other.shapes:
        return "shape"
    for sender, receiver, to, frm in ((mine, other, rank, me), (other, mine, me, rank)):
        sent, expected = sender.sends.get(to), receiver.receives.get(frm)
        if sent is not None and expected is not None and sent != expected:
            return "shape"
    return None


def parted(mine: Turn, other: Turn) -> tuple[Place, Place] | None:
    """Return the lines of the first of the last turns for which two ranks came from different lines."""
    pairs = list(zip(reversed(mine.trail), reversed(other.trail), strict=False))  # both end with the same turn
    for a, b in reversed(pairs[1:]):
        if a != b and a and b:
            return place_of(a), place_of(b)
    return None


def place_of(line: str) -> Place:
    """Read ``path:line``."""
    path, _, number = line.rpartition(":")
    return Place(path, int(number))


def describe(operation: str, args: Sequence[Any], kwargs: dict[str, Any], ranks: list[int], me: int) -> Turn:
    """Read a call of a ``ProcessGroup`` method; ``ranks`` are the group's, ``me`` this one, numbered in the world."""
    values = [*args, *kwargs.values()]
    root = next((int(v.rootRank) for v in values if hasattr(v, "rootRank")), -1)
    root = ranks[root] if 0 <= root < len(ranks) else -1
    lists = [_shapes(v) for v in values[:2]]
    dtype = next((str(t.dtype).removeprefix("torch.") for v in values[:2] for t in _flat(v)), "")
    turn = Turn(operation, dtype, root=root)
    if operation == "barrier":
        return Turn(operation)
    if operation in ("all_reduce", "broadcast", "reduce"):
        return turn._replace(shapes=lists[0])
    if operation in ("all_gather_into_tensor", "reduce_scatter_tensor"):
        return turn._replace(shapes=lists[0] + lists[1])
    if operation == "all_to_all_single":
        return _all_to_all_single(turn, values, ranks, me)
    outputs, inputs = _inner(values[0]), _inner(values[1])
    sends: dict[int, tuple[int, ...]] = {}
    receives: dict[int, tuple[int, ...]] = {}
    if operation in ("all_gather", "gather"):
        sends = dict.fromkeys(ranks, inputs[0]) if inputs else {}
        receives = dict(zip(ranks, outputs, strict=False))
    elif operation in ("reduce_scatter", "scatter"):
        sends = dict(zip(ranks, inputs, strict=False))
        receives = dict.fromkeys(ranks, outputs[0]) if outputs and operation == "reduce_scatter" else {}
        if operation == "scatter" and outputs:
            receives = {root: outputs[0]}
    elif operation == "all_to_all":
        sends, receives = dict(zip(ranks, inputs, strict=False)), dict(zip(ranks, outputs, strict=False))
    return turn._replace(sends=sends, receives=receives)


def _all_to_all_single(turn: Turn, values: list[Any], ranks: list[int], me: int) -> Turn:
    """Give each rank its number of rows: those of the splits, else equal parts."""
    output, given = values[0], values[1]
    if not isinstance(output, torch.Tensor) or not isinstance(given, torch.Tensor):
        return turn
    out_splits, in_splits = (list(v) if isinstance(v, (list, tuple)) else [] for v in (*values[2:4], [], [])[:2])

    def parts(tensor: torch.Tensor, splits: list[int]) -> dict[int, tuple[int, ...]]:
        rows = tensor.shape[0] if tensor.dim() else 1
        counts = splits or [rows // len(ranks)] * len(ranks)
        return {r: (int(n), *tensor.shape[1:]) for r, n in zip(ranks, counts, strict=False)}

    return turn._replace(sends=parts(given, in_splits), receives=parts(output, out_splits))


def _flat(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for each in value for t in _flat(each)] if isinstance(value, (list, tuple)) else []


def _shapes(value: Any) -> Shapes:
    return tuple(tuple(t.shape) for t in _flat(value))


def _inner(value: Any) -> list[tuple[int, ...]]:
    """Return the shapes of the first list of tensors: there is one for each device of a process."""
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple)):
        value = value[0]
    return list(_shapes(value))
