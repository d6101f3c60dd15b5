"""Check that every storage of a tape is born once, used while it is alive, and dies at most once."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from trainworthy.errors import TapeError
from trainworthy.tape.nodes import Leaf, Node, Repeat, leaves, shift
from trainworthy.tape.progressions import BIRTH, MODULE, USE, Lengths, Piece, block_slots, multiplicity, pieces
from trainworthy.tape.record import Row, Tape

# A tape is checked operation by operation, so its length has limits (a step of a 405B model: 20,000 operations).
MAX_OPS = 2_000_000
MAX_INTS = 20_000_000
MAX_STORAGES = 1 << 24

_UNBORN, _DEAD = -1, -2  # else: the class of a storage that is alive


def check_lifetimes(tape: Tape, lengths: Lengths) -> None:
    """Raise ``TapeError`` if the tape is too long or a storage lives an impossible life.

    The class under which a storage dies must be the one under which it was born. Folded blocks are checked as they are,
    so the time hardly depends on how often they repeat.
    """
    check_length(tape)
    check = _Check(tape.rows, lengths)
    for segment in tape.segments:
        for node in segment.nodes:
            check.node(node)


class _Check:
    """Follows storages through the operations."""

    def __init__(self, rows: Sequence[Row], lengths: Lengths) -> None:
        self.rows, self.lengths = rows, lengths
        self.state = array("q")

    def node(self, node: Node) -> None:
        """Let an operation or a block happen."""
        if isinstance(node, Leaf):
            self._leaf(node)
        elif node.count < max(multiplicity(child) for child in node.body):
            for k in range(node.count):
                for child, increment in zip(node.body, node.increments, strict=True):
                    self.node(shift(child, increment, k))
        else:
            self._block(node)

    def _leaf(self, leaf: Leaf) -> None:
        """Let storages be born, used and die."""
        row, ints, state = self.rows[leaf.row], leaf.ints, self.state
        holes, num_in, num_out, num_births, _ = self.lengths[leaf.row]
        births = holes + num_in + num_out
        deaths = births + num_births
        if holes and min(ints[:holes]) < 0:
            raise _negative_module(min(ints[:holes]))
        for number, which in zip(ints[births:deaths], row.births, strict=True):
            self._reach(number)
            state[number] = _next_state(state[number], BIRTH, which, number)
        for number in ints[holes:births]:
            if not 0 <= number < len(state) or state[number] < 0:
                raise _not_alive(number)
        for number, which in zip(ints[deaths:], row.deaths, strict=True):
            if not 0 <= number < len(state) or state[number] != which:
                raise _wrong_death(number, which)
            state[number] = _DEAD

    def _block(self, node: Repeat) -> None:
        slots = block_slots(node, self.rows, self.lengths)
        for slot in slots:
            last = slot.number + (node.count - 1) * slot.growth
            if slot.action == MODULE and min(slot.number, last) < 0:
                raise _negative_module(min(slot.number, last))
        found = pieces(slots, node.count)
        if found is None:
            for leaf in leaves((node,)):
                self._leaf(leaf)
            return
        for piece in found:
            self._piece(piece)

    def _piece(self, piece: Piece) -> None:
        """Let the same things happen to storages that are far apart by a stride."""
        state, end = self.state, piece.start + (piece.length - 1) * piece.stride
        for number in (piece.start, end):
            if piece.slots[0].action == BIRTH:
                self._reach(number)
            elif not 0 <= number < len(state):
                raise _not_alive(number)
        where = slice(piece.start, end + 1, piece.stride)
        before = state[where]
        if before == array("q", before[:1]) * piece.length:
            state[where] = array("q", [_life(before[0], piece, piece.start)]) * piece.length
            return
        for number in range(piece.start, end + 1, piece.stride):
            state[number] = _life(state[number], piece, number)

    def _reach(self, number: int) -> None:
        if not 0 <= number < MAX_STORAGES:
            raise TapeError(f"A storage has the number {number}, not one from 0 to {MAX_STORAGES - 1}.")
        missing = number + 1 - len(self.state)
        if missing > 0:
            self.state.extend(array("q", [_UNBORN]) * max(missing, len(self.state)))


def _life(state: int, piece: Piece, number: int) -> int:
    for slot in piece.slots:
        state = _next_state(state, slot.action, slot.storage_class, number)
    return state


def _next_state(state: int, action: int, which: int, number: int) -> int:
    if action == BIRTH:
        if state != _UNBORN:
            raise TapeError(f"Storage {number} is born twice.")
        return which
    if action == USE:
        if state < 0:
            raise _not_alive(number)
        return state
    if state != which:
        raise _wrong_death(number, which)
    return _DEAD


def _negative_module(number: int) -> TapeError:
    return TapeError(f"The tape names a module by the number {number}.")


def _not_alive(number: int) -> TapeError:
    return TapeError(f"Storage {number} is used before its birth or after its death.")


def _wrong_death(number: int, which: int) -> TapeError:
    return TapeError(f"Storage {number} dies, but it is not alive as storage class {which}.")


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
