"""The allocations and releases of a tape in order, on one device.

Folded blocks are expanded here, but cheaply: a block is turned into a flat list once, and every further repetition
only adds its increments to the storage numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.tape.nodes import Leaf, Node, Repeat, num_ints
from trainworthy.tape.record import Tape


class Event(NamedTuple):
    """One storage comes to life (``storage_class`` >= 0) or dies (-1).

    ``op`` is the index of the operation that it comes before (birth) or after (death).
    """

    op: int
    storage_class: int
    number: int


_Slot = tuple[int, int, int, int]  # operation, storage class or -1, storage number, place among the node's integers


def memory_events(tape: Tape, device: str) -> list[Event]:
    """List births and deaths of the storages on ``device``; storages of no bytes are left out."""
    # Deaths carry only a number, so a death counts if its storage was seen to be born on the device.
    relevant = [c.device == device and c.size_bytes > 0 for c in tape.classes]
    flat = _Flattener(tape)
    events: list[Event] = []
    born: set[int] = set()
    op = 0
    for segment in tape.segments:
        for node in segment.nodes:
            num_ops, slots = flat.slots(node)
            for at, which, number, _ in slots:
                if which >= 0:
                    if relevant[which]:
                        born.add(number)
                        events.append(Event(op + at, which, number))
                elif number in born:
                    born.remove(number)
                    events.append(Event(op + at, -1, number))
            op += num_ops
    return events


class _Flattener:
    def __init__(self, tape: Tape) -> None:
        self.rows = tape.rows
        self._skip = [
            tape.modules[row.module].count("{}")
            + len(tape.signatures[row.signature].inputs)
            + len(tape.signatures[row.signature].outputs)
            for row in tape.rows
        ]

    def slots(self, node: Node) -> tuple[int, list[_Slot]]:
        """Return the number of operations of ``node`` and its births and deaths in order."""
        return self._leaf(node) if isinstance(node, Leaf) else self._repeat(node)

    def _leaf(self, leaf: Leaf) -> tuple[int, list[_Slot]]:
        row, at = self.rows[leaf.row], self._skip[leaf.row]
        slots = []
        for which in (*row.births, *(-1 for _ in row.deaths)):
            slots.append((0, which, leaf.ints[at], at))
            at += 1
        return 1, slots

    def _repeat(self, node: Repeat) -> tuple[int, list[_Slot]]:
        num_ops, place = 0, 0
        block: list[tuple[int, int, int, int, int]] = []
        for child, increment in zip(node.body, node.increments, strict=True):
            child_ops, slots = self.slots(child)
            for op, which, number, at in slots:
                block.append((num_ops + op, which, number, place + at, increment[at]))
            num_ops += child_ops
            place += num_ints(child)
        out: list[_Slot] = []
        for k in range(node.count):
            start = k * num_ops
            out += [(start + op, which, number + k * by, at) for op, which, number, at, by in block]
        return node.count * num_ops, out
