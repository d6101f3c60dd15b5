"""Change the operations of a folded tape and keep it folded.

A change sees the leaves of one block at a time, in order, and says by which leaves they are replaced. Its integers
(layer numbers, storage numbers) are picked from those of the leaves that it replaces, so that they go on growing
linearly from one repetition to the next in all the loops around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from trainworthy.tape.record import Leaf, Node, Repeat, Row, Segment, Signature, Tape, num_ints

__all__ = ["NewLeaf", "Rows", "map_signatures", "rewrite"]


class NewLeaf(NamedTuple):
    """A leaf whose integers are those at ``picks`` of the leaves that were passed, one after the other."""

    row: int
    picks: tuple[int, ...]


class Rows:
    """The tables of a tape that is being changed; a row or signature that is there already is used again."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.rows: dict[Row, int] = {}
        self.signatures: dict[Signature, int] = {}
        for row in tape.rows:
            self.rows.setdefault(row, len(self.rows))
        for signature in tape.signatures:
            self.signatures.setdefault(signature, len(self.signatures))

    def row(self, row: Row) -> int:
        """Return the number of a row."""
        return self.rows.setdefault(row, len(self.rows))

    def signature(self, signature: Signature) -> int:
        """Return the number of a signature."""
        return self.signatures.setdefault(signature, len(self.signatures))


Change = Callable[[Sequence[Leaf], Rows], list[NewLeaf]]


def rewrite(tape: Tape, change: Change, *, steps: Sequence[int] | None = None) -> Tape:
    """Return the tape with every stretch of leaves that no block interrupts replaced as ``change`` says."""
    rows = Rows(tape)
    if len(rows.rows) != len(tape.rows) or len(rows.signatures) != len(tape.signatures):
        raise ValueError("the tables of the tape hold something twice")
    segments = tuple(
        Segment(s.step, s.complete, tuple(node for node, _ in _nodes(s.nodes, change, rows)))
        if steps is None or s.step in steps
        else s
        for s in tape.segments
    )
    return replace(tape, segments=segments, rows=tuple(rows.rows), signatures=tuple(rows.signatures))


def _nodes(nodes: Sequence[Node], change: Change, rows: Rows) -> list[tuple[Node, tuple[int, ...]]]:
    """Return the new nodes, each with the places of its integers among those of ``nodes``."""
    out: list[tuple[Node, tuple[int, ...]]] = []
    stretch: list[Leaf] = []
    start = at = 0
    for node in nodes:
        if isinstance(node, Leaf):
            if not stretch:
                start = at
            stretch.append(node)
        else:
            out += _stretch(stretch, start, change, rows)
            stretch = []
            out.append(_repeat(node, at, change, rows))
        at += num_ints(node)
    return out + _stretch(stretch, start, change, rows)


def _stretch(leaves: list[Leaf], start: int, change: Change, rows: Rows) -> list[tuple[Node, tuple[int, ...]]]:
    if not leaves:
        return []
    ints = [number for leaf in leaves for number in leaf.ints]
    return [
        (Leaf(new.row, tuple(ints[i] for i in new.picks)), tuple(start + i for i in new.picks))
        for new in change(leaves, rows)
    ]


def _repeat(node: Repeat, start: int, change: Change, rows: Rows) -> tuple[Node, tuple[int, ...]]:
    growth = [number for increment in node.increments for number in increment]
    body = _nodes(node.body, change, rows)
    increments = tuple(tuple(growth[i] for i in picks) for _, picks in body)
    places = tuple(start + i for _, picks in body for i in picks)
    return Repeat(node.count, tuple(child for child, _ in body), increments), places


def map_signatures(tape: Tape, change: Callable[[Signature, Row], Signature]) -> Tape:
    """Return the tape with the signature of every row changed; what is folded stays so."""
    signatures: dict[Signature, int] = {}
    rows = []
    for row in tape.rows:
        new = change(tape.signatures[row.signature], row)
        rows.append(row._replace(signature=signatures.setdefault(new, len(signatures))))
    return replace(tape, signatures=tuple(signatures), rows=tuple(rows))
