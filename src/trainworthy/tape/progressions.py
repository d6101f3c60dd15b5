"""What a folded block does to storages, as arithmetic progressions instead of one repetition after the other.

An integer of a block's body grows by its increment from one repetition to the next, so the storages that it names are
a progression. Two integers that grow alike name the same storages with a fixed lag; every storage of the progression
then lives the same life, but for those near its ends, to which fewer of the integers come. Integers that grow
differently must never name the same storage; where they might, the block is unfolded instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd
from typing import NamedTuple

from trainworthy.tape.nodes import Leaf, Node, Repeat, num_ints
from trainworthy.tape.record import Row

MODULE, BIRTH, USE, DEATH = range(4)

Lengths = Sequence[tuple[int, int, int, int, int]]  # by row: module numbers, inputs, outputs, births, deaths


class Slot(NamedTuple):
    """One integer of a block: what happens to ``number``, of which storage class, and by how much it grows."""

    action: int
    storage_class: int
    number: int
    growth: int


class Piece(NamedTuple):
    """Storages ``start``, ``start + stride``, ... (``length`` of them): the same happens to each, in this order."""

    start: int
    stride: int
    length: int
    slots: tuple[Slot, ...]


class _Family(NamedTuple):
    """Slots that name numbers of one residue; ``stride`` 0 is a single number."""

    stride: int
    residue: int
    slots: list[Slot]

    def ends(self, count: int) -> tuple[int, int]:
        reached = [slot.number + k * slot.growth for slot in self.slots for k in (0, count - 1)]
        return min(reached), max(reached)


def multiplicity(node: Node) -> int:
    """Return how many repetitions of an operation ``node`` stands for, at most."""
    if isinstance(node, Leaf):
        return 1
    return node.count * max(multiplicity(child) for child in node.body)


def block_slots(node: Repeat, rows: Sequence[Row], lengths: Lengths) -> list[Slot]:
    """List what one repetition of ``node`` does, in order; blocks inside it are unfolded."""
    slots: list[Slot] = []
    for child, increment in zip(node.body, node.increments, strict=True):
        slots += [
            Slot(action, which, number, increment[at]) for action, which, number, at in _flat(child, rows, lengths)
        ]
    return slots


def pieces(slots: Sequence[Slot], count: int) -> list[Piece] | None:
    """Cut what ``count`` repetitions do to storages into pieces; None if integers that grow differently may meet.

    Pieces share no storage. Module numbers are not among them.
    """
    families: dict[tuple[int, int], _Family] = {}
    for slot in slots:
        if slot.action != MODULE:
            stride = abs(slot.growth)
            residue = slot.number % stride if stride else slot.number
            families.setdefault((stride, residue), _Family(stride, residue, [])).slots.append(slot)
    if any(len({slot.growth > 0 for slot in family.slots}) > 1 for family in families.values()):
        return None
    if _may_meet(list(families.values()), count):
        return None
    return [piece for family in families.values() for piece in _pieces_of(family, count)]


def _flat(node: Node, rows: Sequence[Row], lengths: Lengths) -> list[tuple[int, int, int, int]]:
    """List (action, storage class, number, place among the node's integers) in the order in which things happen."""
    if isinstance(node, Leaf):
        return _flat_leaf(node, rows[node.row], lengths[node.row])
    block: list[tuple[int, int, int, int, int]] = []
    place = 0
    for child, increment in zip(node.body, node.increments, strict=True):
        block += [(action, which, n, place + at, increment[at]) for action, which, n, at in _flat(child, rows, lengths)]
        place += num_ints(child)
    return [(action, which, n + k * by, at) for k in range(node.count) for action, which, n, at, by in block]


def _flat_leaf(leaf: Leaf, row: Row, lengths: tuple[int, int, int, int, int]) -> list[tuple[int, int, int, int]]:
    holes, num_in, num_out, num_births, num_deaths = lengths
    births = holes + num_in + num_out
    deaths = births + num_births
    ints = leaf.ints
    return [
        *((MODULE, 0, ints[at], at) for at in range(holes)),
        *((BIRTH, row.births[at - births], ints[at], at) for at in range(births, deaths)),
        *((USE, 0, ints[at], at) for at in range(holes, births)),
        *((DEATH, row.deaths[at - deaths], ints[at], at) for at in range(deaths, deaths + num_deaths)),
    ]


def _may_meet(families: list[_Family], count: int) -> bool:
    by_stride: dict[int, list[tuple[int, int, int]]] = {}
    for family in families:
        by_stride.setdefault(family.stride, []).append((*family.ends(count), family.residue))
    strides = sorted(by_stride)
    for i, one in enumerate(strides):
        for other in strides[i + 1 :]:
            common = gcd(one, other)
            for low, high, residue in by_stride[one]:
                for other_low, other_high, other_residue in by_stride[other]:
                    if low <= other_high and other_low <= high and (residue - other_residue) % common == 0:
                        return True
    return False


def _pieces_of(family: _Family, count: int) -> list[Piece]:
    stride, residue = family.stride, family.residue
    if not stride:
        # The same storage in every repetition: what two of them allow, all of them allow.
        return [Piece(residue, 1, 1, tuple(family.slots) * min(count, 2))]
    grows = family.slots[0].growth > 0
    offsets = [(slot.number - residue) // stride for slot in family.slots]
    spans = [(at, at + count) if grows else (at - count + 1, at + 1) for at in offsets]
    # In which order the slots come to one storage: by repetition (the slot that is ahead comes first), then by place.
    order = sorted(range(len(offsets)), key=lambda i: (-offsets[i] if grows else offsets[i], i))
    cuts = sorted({end for span in spans for end in span})
    found = []
    for low, high in pairwise(cuts):
        here = tuple(family.slots[i] for i in order if spans[i][0] <= low and high <= spans[i][1])
        if here:
            found.append(Piece(residue + low * stride, stride, high - low, here))
    return found
