"""Check that every storage of a tape is born once, used while it is alive, and dies at most once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from trainworthy.errors import TapeError
from trainworthy.tape.record import Leaf, Node, Row, Tape, leaves

# A tape is checked operation by operation, so its length has limits (a step of a 405B model: 20,000 operations).
MAX_OPS = 2_000_000
MAX_INTS = 20_000_000
MAX_STORAGES = 1 << 24

_UNBORN, _DEAD = -1, -2  # else: the class of a storage that is alive

Lengths = Sequence[tuple[int, int, int, int, int]]  # by row: module numbers, inputs, outputs, births, deaths


def check_lifetimes(tape: Tape, lengths: Lengths) -> None:
    """Raise ``TapeError`` if the tape is too long or a storage lives an impossible life.

    The class under which a storage dies must be the one under which it was born.
    """
    check_length(tape)
    check = _Check(tape.rows, lengths)
    for segment in tape.segments:
        for leaf in leaves(segment.nodes):
            check.leaf(leaf)


class _Check:
    """Follows storages through the operations."""

    def __init__(self, rows: Sequence[Row], lengths: Lengths) -> None:
        self.rows, self.lengths = rows, lengths
        self.state = array("q")

    def leaf(self, leaf: Leaf) -> None:
        """Let storages be born, used and die."""
        row, ints, state = self.rows[leaf.row], leaf.ints, self.state
        holes, num_in, num_out, num_births, _ = self.lengths[leaf.row]
        births = holes + num_in + num_out
        deaths = births + num_births
        if holes and min(ints[:holes]) < 0:
            raise TapeError(f"The tape names a module by the number {min(ints[:holes])}.")
        for number, which in zip(ints[births:deaths], row.births, strict=True):
            self._reach(number)
            if state[number] != _UNBORN:
                raise TapeError(f"Storage {number} is born twice.")
            state[number] = which
        for number in ints[holes:births]:
            if not 0 <= number < len(state) or state[number] < 0:
                raise TapeError(f"Storage {number} is used before its birth or after its death.")
        for number, which in zip(ints[deaths:], row.deaths, strict=True):
            if not 0 <= number < len(state) or state[number] != which:
                raise TapeError(f"Storage {number} dies, but it is not alive as storage class {which}.")
            state[number] = _DEAD

    def _reach(self, number: int) -> None:
        if not 0 <= number < MAX_STORAGES:
            raise TapeError(f"A storage has the number {number}, not one from 0 to {MAX_STORAGES - 1}.")
        missing = number + 1 - len(self.state)
        if missing > 0:
            self.state.extend(array("q", [_UNBORN]) * max(missing, len(self.state)))


def check_length(tape: Tape) -> None:
    """Raise ``TapeError`` if the tape stands for more operations than can be walked."""
    sizes = [_size(node) for segment in tape.segments for node in segment.nodes]
    num_ops, total_ints = sum(s[0] for s in sizes), sum(s[1] for s in sizes)
    if num_ops > MAX_OPS or total_ints > MAX_INTS:
        raise TapeError(
            f"The tape stands for more than {MAX_OPS:,} operations or {MAX_INTS:,} integers; longer ones are not read.",
            fix="Record fewer steps.",
        )


def _size(node: Node) -> tuple[int, int]:
    if isinstance(node, Leaf):
        return 1, len(node.ints)
    sizes = [_size(child) for child in node.body]
    return node.count * sum(s[0] for s in sizes), node.count * sum(s[1] for s in sizes)
