"""What a rank tells of a collective survives the store; two that fit together are equal or send what is expected."""

from __future__ import annotations

import json

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.check.finding import Place
from trainworthy.check.live.turns import Turn, describe, difference, parted, place_of

SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
TURNS = st.builds(
    Turn, st.sampled_from(["all_reduce", "all_to_all", "broadcast"]), st.sampled_from(["", "float32", "int64"]),
    st.lists(SHAPES, max_size=2).map(tuple), st.dictionaries(st.integers(0, 3), SHAPES),
    st.dictionaries(st.integers(0, 3), SHAPES), st.integers(-1, 3),
    place=st.none(),
)  # fmt: skip


@given(TURNS)
def test_a_turn_survives_the_store(turn: Turn) -> None:
    assert Turn.read(json.loads(json.dumps(turn.told()))) == turn


@given(TURNS, TURNS)
def test_two_ranks_agree_on_whether_they_differ(mine: Turn, other: Turn) -> None:
    assert difference(mine, other, 0, 1) == difference(other, mine, 1, 0)


@given(TURNS)
def test_a_rank_that_sends_nothing_to_itself_alone_fits_itself(turn: Turn) -> None:
    plain = turn._replace(sends={}, receives={})
    assert difference(plain, plain, 0, 1) is None


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_splits_that_are_one_table_fit_together(rows: list[list[int]]) -> None:
    def turn(rank: int) -> Turn:
        into, out = rows[rank], [r[rank] for r in rows]
        given_, received = torch.empty(sum(into), 2), torch.empty(sum(out), 2)
        return describe("all_to_all_single", (received, given_, out, into), {}, [0, 1, 2], rank)

    turns = [turn(rank) for rank in range(3)]
    assert all(difference(turns[a], turns[b], a, b) is None for a in range(3) for b in range(3))


def test_shapes_by_hand() -> None:
    ranks = [4, 7]
    gathered = describe("all_gather", ([[torch.empty(3), torch.empty(2)]], [torch.empty(3)]), {}, ranks, 4)
    assert gathered.sends == {4: (3,), 7: (3,)}
    assert gathered.receives == {4: (3,), 7: (2,)}
    other = describe("all_gather", ([[torch.empty(3), torch.empty(2)]], [torch.empty(2)]), {}, ranks, 7)
    assert difference(gathered, other, 4, 7) is None
    short = describe("all_gather", ([[torch.empty(2), torch.empty(2)]], [torch.empty(2)]), {}, ranks, 7)
    assert difference(gathered, short, 4, 7) == "shape"
    assert describe("barrier", (), {}, ranks, 4) == Turn("barrier")
    split = describe("all_to_all_single", (torch.empty(4, 2), torch.empty(4, 2), [], []), {}, ranks, 4)
    assert split.sends == split.receives == {4: (2, 2), 7: (2, 2)}


def test_where_two_ranks_went_apart() -> None:
    mine, other = Turn("a", trail=("t.py:1", "t.py:2", "t.py:5")), Turn("b", trail=("t.py:1", "t.py:3", "t.py:6"))
    assert parted(mine, other) == (Place("t.py", 2), Place("t.py", 3))
    assert parted(mine, mine) is None
    assert place_of("C:\\x.py:12") == Place("C:\\x.py", 12)
