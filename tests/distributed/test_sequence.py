"""Comparing sequences of collectives finds what was planted."""

from __future__ import annotations

from distributed.sequence import Call, disagreement, first_difference, unmatched

REDUCE = Call("all_reduce", (0, 1), 64, 64, "float32", "sum", None)
GATHER = Call("all_gather", (0, 1), 32, 64, "float32", None, None)


def test_first_difference_names_the_call() -> None:
    assert first_difference([REDUCE, GATHER], [REDUCE, GATHER]) is None
    changed = GATHER._replace(bytes_out=128)
    assert "call 1 of 2 real, 2 virtual" in (first_difference([REDUCE, GATHER], [REDUCE, changed]) or "")
    assert "call 1 of 2 real, 1 virtual" in (first_difference([REDUCE, GATHER], [REDUCE]) or "")


def test_ranks_of_a_group_must_agree() -> None:
    assert disagreement([[REDUCE, GATHER], [REDUCE, GATHER]]) is None
    assert disagreement([[REDUCE, GATHER], [GATHER, REDUCE]]) is not None
    assert disagreement([[REDUCE], [REDUCE, REDUCE]]) is not None


def test_sends_need_receives_of_their_size() -> None:
    send = Call("send", (0, 1), 60, 60, "float32", None, 1)
    receive = Call("recv", (0, 1), 60, 60, "float32", None, 0)
    assert unmatched([[send], [receive]]) is None
    assert unmatched([[send, send], [receive]]) is not None
    assert unmatched([[send], [receive._replace(bytes_out=30)]]) is not None
