"""Folded blocks are checked as progressions of storages; the oracle is the same check, operation by operation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tape.tapes import recorded_case, recorded_depth, tapes, unfold_tape, vars_of
from trainworthy.errors import TapeError
from trainworthy.tape import lifetimes
from trainworthy.tape.encode import ints_of_rows
from trainworthy.tape.lifetimes import check_lifetimes
from trainworthy.tape.nodes import Leaf, Node, Repeat
from trainworthy.tape.progressions import BIRTH, DEATH, USE, Piece, Slot, pieces
from trainworthy.tape.record import Row, Segment, Signature, Source, StorageClass, Tape, TensorMeta


def _check(tape: Tape) -> str | None:
    """Return what the check says; the storage is left out, because the order in which they are looked at differs."""
    try:
        check_lifetimes(tape, ints_of_rows(tape.rows, tape.signatures, tape.modules))
    except TapeError as error:
        return str(error)
    return None


def _assert_as_unfolded(tape: Tape) -> None:
    assert (_check(tape) is None) == (_check(unfold_tape(tape)) is None)


@given(tapes())
def test_tapes_that_make_sense_are_accepted(tape: Tape) -> None:
    assert _check(tape) is None


@given(tapes(), st.data())
def test_a_wrong_number_is_found_as_in_the_unfolded_tape(tape: Tape, data: st.DataObject) -> None:
    segments = [s for s in tape.segments if s.nodes]
    if not segments:
        return
    at = data.draw(st.integers(0, len(segments) - 1))
    nodes = list(segments[at].nodes)
    which = data.draw(st.integers(0, len(nodes) - 1))
    nodes[which] = _disturbed(nodes[which], data)
    segments[at] = segments[at]._replace(nodes=tuple(nodes))
    _assert_as_unfolded(Tape(**{**vars_of(tape), "segments": tuple(segments)}))


def _disturbed(node: Node, data: st.DataObject) -> Node:
    """Change one integer, one increment or one count somewhere in ``node``."""
    if isinstance(node, Leaf):
        return Leaf(node.row, _changed(node.ints, data))
    what = data.draw(st.sampled_from(["count", "increment", "body"]))
    which = data.draw(st.integers(0, len(node.body) - 1))
    if what == "count":
        return node._replace(count=max(1, node.count + data.draw(st.integers(-2, 3))))
    if what == "increment":
        changed = _changed(node.increments[which], data)
        return node._replace(increments=(*node.increments[:which], changed, *node.increments[which + 1 :]))
    body = (*node.body[:which], _disturbed(node.body[which], data), *node.body[which + 1 :])
    return node._replace(body=body)


def _changed(ints: tuple[int, ...], data: st.DataObject) -> tuple[int, ...]:
    if not ints:
        return ints
    at = data.draw(st.integers(0, len(ints) - 1))
    return (*ints[:at], ints[at] + data.draw(st.integers(-3, 3)), *ints[at + 1 :])


# --- blocks by hand ------------------------------------------------------------------------------------------------

_META = TensorMeta((1,), (1,), "f", "cuda:0")
_CLASS = StorageClass("cuda:0", "temporary", 4, "empty", 0, 0)
_SIGNATURES = (Signature("op", (), (_META,), 0, 0, 0, 0), Signature("use", (_META,), (), 0, 0, 0, 0))
_ROWS = (
    Row(0, 1, 0, 0, (0,), ()),  # (output, born)
    Row(1, 1, 0, 0, (), ()),  # (used)
    Row(1, 1, 0, 0, (), (0,)),  # (used, dead)
    Row(1, 1, 0, 0, (), (1,)),  # (used, dead) as another class
)


def _tape(*nodes: Node) -> Tape:
    return Tape(
        signatures=_SIGNATURES, sources=(Source("", 0),), modules=("",), classes=(_CLASS, _CLASS), rows=_ROWS,
        segments=(Segment(1, True, nodes),),
    )  # fmt: skip


def _block(count: int, *ops: tuple[int, int, int]) -> Repeat:
    """Repeat operations given as (row, first number, growth)."""
    leaves, increments = [], []
    for row, number, growth in ops:
        size = 1 if row == 1 else 2
        leaves.append(Leaf(row, (number,) * size))
        increments.append((growth,) * size)
    return Repeat(count, tuple(leaves), tuple(increments))


_BORN_10 = _block(10, (0, 0, 2))  # 0, 2, ... 18


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([_block(10, (0, 0, 1), (2, 0, 1))], None),  # born and dead in one repetition
        ([_block(10, (0, 1, 1), (1, 1, 1)), _block(10, (2, 10, -1))], None),  # a backward pass
        ([_BORN_10, _block(10, (2, 18, -2))], None),
        ([_BORN_10, _block(9, (2, 0, 2)), Leaf(2, (18, 18))], None),
        ([Leaf(0, (0, 0)), _block(9, (0, 1, 1), (2, 0, 1)), Leaf(2, (9, 9))], None),  # each frees the one before
        ([Leaf(0, (0, 0)), _block(10, (0, 1, 1), (2, 0, 1)), Leaf(2, (9, 9))], "Storage 9 is used"),
        ([_BORN_10, _block(11, (2, 0, 2))], "used before its birth"),
        ([_BORN_10, _block(5, (2, 0, 2)), _block(6, (2, 8, 2))], "Storage 8"),
        ([_BORN_10, _block(10, (3, 0, 2))], "dies, but it is not alive as storage class 1"),
        ([_block(10, (0, 0, 1), (0, 5, 1))], "is born twice"),  # the second runs into the first
        ([_block(10, (0, 0, 1), (0, 20, 1))], None),
        ([_block(10, (0, 20, 2), (0, 21, 3))], "is born twice"),  # other growth: 24 and 24
        ([_block(10, (0, 20, 2), (0, 41, 4))], None),  # even and odd numbers never meet
        ([_block(10, (0, 0, 1), (1, 1, 1))], "used before its birth"),  # used one repetition early
        ([_block(10, (0, 3, 0))], "is born twice"),
        ([Leaf(0, (0, 0)), _block(10, (1, 0, 0))], None),
        ([Leaf(0, (0, 0)), _block(10, (2, 0, 0))], "used before its birth"),
        ([_block(10, (0, 5, -1))], "has the number -4"),
        ([_block(10, (0, 0, 1 << 23))], "not one from 0"),
        ([_block(2, (1, 1 << 40, 1))], "used before its birth"),
        ([Repeat(3, (_BORN_10, _block(10, (2, 0, 2))), ((20, 20), (20, 20)))], None),  # the layers of three micro-steps
        ([Repeat(3, (_BORN_10, _block(10, (2, 0, 2))), ((18, 18), (20, 20)))], "born twice"),
    ],
)
def test_blocks(nodes: list[Node], says: str | None) -> None:
    tape = _tape(*nodes)
    found = _check(tape)
    assert (found is None) if says is None else (found is not None and says in found)
    _assert_as_unfolded(tape)


def test_what_may_meet_is_left_to_unfolding() -> None:
    assert pieces([Slot(BIRTH, 0, 20, 2), Slot(BIRTH, 0, 21, 3)], 10) is None
    assert pieces([Slot(BIRTH, 0, 0, 1), Slot(USE, 0, 9, -1)], 10) is None


def test_pieces_of_a_lag() -> None:
    # Born in one repetition, dead in the next: the first and the last storage live otherwise than those between.
    born, dead = Slot(BIRTH, 0, 1, 1), Slot(DEATH, 0, 0, 1)
    found = pieces([born, dead], 10)
    assert found == [Piece(0, 1, 1, (dead,)), Piece(1, 1, 9, (born, dead)), Piece(10, 1, 1, (born,))]


@pytest.mark.parametrize("name", ["mlp_sgd", "transformer_encoder_fp32"])
def test_recorded_tapes_are_accepted(name: str) -> None:
    assert _check(recorded_case(name)) is None


def test_twice_the_layers_are_checked_in_the_same_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked_at(layers: int) -> int:
        steps = 0
        life = lifetimes._next_state

        def counted(*arguments: int) -> int:
            nonlocal steps
            steps += 1
            return life(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(lifetimes, "_next_state", counted)
            assert _check(recorded_depth(layers)) is None
        return steps

    few, many = looked_at(12), looked_at(24)
    assert many < 1.5 * few
