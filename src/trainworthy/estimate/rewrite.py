"""Change the operations of a folded tape and keep it folded.

A change sees the leaves of one block at a time, in order, and says by which leaves they are replaced. Its integers
(layer numbers, storage numbers) are picked from those of the leaves that it replaces, so that they go on growing
linearly from one repetition to the next in all the loops around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from trainworthy.tape.nodes import Leaf, Node, Repeat, num_ints
from trainworthy.tape.record import Row, Segment, Signature, StorageClass, Tape, TensorMeta

__all__ = ["NewLeaf", "Numbers", "Rows", "Site", "each_leaf", "map_signatures", "numbers_of", "on_device", "rewrite"]


class NewLeaf(NamedTuple):
    """A leaf whose integers are those at ``picks`` of the leaves that were passed, one after the other."""

    row: int
    picks: tuple[int, ...]


class Rows:
    """The tables of a tape that is being changed: what was there keeps its number, what is new follows."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._rows: dict[Row, int] = {}
        self._signatures: dict[Signature, int] = {}
        self._classes: dict[StorageClass, int] = {}

    @property
    def classes(self) -> tuple[StorageClass, ...]:
        """All storage classes."""
        return (*self.tape.classes, *self._classes)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows."""
        return (*self.tape.rows, *self._rows)

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """All signatures."""
        return (*self.tape.signatures, *self._signatures)

    def row(self, row: Row) -> int:
        """Return the number of a new row."""
        return self._rows.setdefault(row, len(self.tape.rows) + len(self._rows))

    def storage_class(self, storage_class: StorageClass) -> int:
        """Return the number of a new storage class."""
        return self._classes.setdefault(storage_class, len(self.tape.classes) + len(self._classes))

    def signature(self, signature: Signature) -> int:
        """Return the number of a new signature."""
        return self._signatures.setdefault(signature, len(self.tape.signatures) + len(self._signatures))


Change = Callable[[Sequence[Leaf], Rows], list[NewLeaf]]


def rewrite(tape: Tape, change: Change, *, steps: Sequence[int] | None = None) -> Tape:
    """Return the tape with every stretch of leaves that no block interrupts replaced as ``change`` says."""
    rows = Rows(tape)
    segments = tuple(
        Segment(s.step, s.complete, tuple(node for node, _ in _nodes(s.nodes, change, rows)))
        if steps is None or s.step in steps
        else s
        for s in tape.segments
    )
    return replace(tape, segments=segments, rows=rows.rows, signatures=rows.signatures, classes=rows.classes)


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


class Numbers(NamedTuple):
    """The integers of a leaf by what they are; all but the first are storage numbers."""

    module: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    born: tuple[int, ...]
    dead: tuple[int, ...]


def numbers_of(leaf: Leaf, rows: Rows) -> Numbers:
    """Split the integers of a leaf of the tape that is being changed."""
    row = rows.tape.rows[leaf.row]
    signature = rows.tape.signatures[row.signature]
    ends = [rows.tape.modules[row.module].count("{}")]
    for size in (len(signature.inputs), len(signature.outputs), len(row.births), len(row.deaths)):
        ends.append(ends[-1] + size)
    starts = [0, *ends[:-1]]
    return Numbers(*(leaf.ints[start:end] for start, end in zip(starts, ends, strict=True)))


class Site(NamedTuple):
    """One leaf as a change sees it: its row and signature, the tables, and the place of its first integer."""

    leaf: Leaf
    row: Row
    signature: Signature
    rows: Rows
    at: int

    @property
    def numbers(self) -> Numbers:
        """The integers of the leaf by what they are."""
        return numbers_of(self.leaf, self.rows)

    def kept(self, row: int | None = None) -> NewLeaf:
        """Keep the integers, with another row if there is one."""
        return NewLeaf(self.leaf.row if row is None else row, tuple(range(self.at, self.at + len(self.leaf.ints))))

    def as_signature(self, signature: Signature) -> NewLeaf:
        """Keep all but the signature."""
        return self.kept(self.rows.row(self.row._replace(signature=self.rows.signature(signature))))


def each_leaf(change: Callable[[Site], list[NewLeaf]]) -> Change:
    """Make a change of stretches from one of single leaves."""

    def change_stretch(leaves: Sequence[Leaf], rows: Rows) -> list[NewLeaf]:
        out: list[NewLeaf] = []
        at = 0
        for leaf in leaves:
            row = rows.tape.rows[leaf.row]
            out += change(Site(leaf, row, rows.tape.signatures[row.signature], rows, at))
            at += len(leaf.ints)
        return out

    return change_stretch


def map_signatures(tape: Tape, change: Callable[[Signature, Row], Signature]) -> Tape:
    """Return the tape with the signature of every row changed; what is folded stays so."""
    signatures: dict[Signature, int] = {}
    rows = []
    for row in tape.rows:
        new = change(tape.signatures[row.signature], row)
        rows.append(row._replace(signature=signatures.setdefault(new, len(signatures))))
    return replace(tape, signatures=tuple(signatures), rows=tuple(rows))


def on_device(tape: Tape, device: str) -> Tape:
    """Return the tape with everything on one device."""

    def meta(old: TensorMeta) -> TensorMeta:
        return old._replace(device=device)

    signatures = tuple(
        s._replace(inputs=tuple(map(meta, s.inputs)), outputs=tuple(map(meta, s.outputs))) for s in tape.signatures
    )
    classes = tuple(c._replace(device=device) for c in tape.classes)
    return replace(tape, signatures=signatures, classes=classes, device=device)
