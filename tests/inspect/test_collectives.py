"""Calls of one rank: where they are waited for, and what is computed meanwhile."""

from __future__ import annotations

import pytest

from report.cluster_tapes import RankBuilder, ddp
from report.tape_builder import MIB, unfolded
from trainworthy.inspect.collectives import Call, Compute, calls_of, computed_beside


def rank_zero() -> RankBuilder:
    return RankBuilder(rank=0, world_size=4, gpus_per_node=4)


def compute(tape: RankBuilder, flops: int) -> None:
    tape.op("mm", flops=flops, moved_bytes=10 * flops)


def beside(call: Call) -> int | None:
    found = computed_beside([call])
    return None if found is None else found.flops


def test_a_synchronous_call_has_nothing_beside_it() -> None:
    tape = rank_zero()
    compute(tape, 5)
    tape.call("all_reduce", MIB)
    compute(tape, 7)
    (call,) = calls_of(tape.tape())
    assert call.wait_index is None
    assert call.is_exposed
    assert beside(call) == 0


def test_an_asynchronous_call_has_what_runs_before_the_wait_for_its_result() -> None:
    tape = rank_zero()
    compute(tape, 5)
    one = tape.call("all_reduce", MIB, line=3, is_async=True)
    compute(tape, 7)
    two = tape.call("all_gather", MIB, line=4, is_async=True)
    compute(tape, 11)
    tape.wait(*one, line=9)
    compute(tape, 13)
    tape.wait(*two, line=10)
    first, second = calls_of(tape.tape())
    assert (beside(first), beside(second)) == (18, 24)
    assert [call.wait_source and call.wait_source.line for call in (first, second)] == [9, 10]
    assert not first.is_exposed
    # 11 are computed beside both: together they have 7 + 11 + 13.
    assert computed_beside([first, second]) == Compute(31, 310)


def test_waiting_at_once_hides_nothing() -> None:
    tape = rank_zero()
    tape.wait(*tape.call("all_reduce", MIB, is_async=True), line=1)
    assert calls_of(tape.tape())[0].is_exposed


def test_a_send_is_waited_for_by_what_it_sends() -> None:
    tape = rank_zero()
    (x,) = tape.op("mm", births=(("activation", MIB),))
    tape.call("send", MIB, peer=1, reads=(x,), is_async=True)
    compute(tape, 3)
    tape.wait(x, line=8)
    (call,) = calls_of(tape.tape())
    assert beside(call) == 3


@pytest.mark.parametrize("kind", ["barrier", "all_reduce"])
def test_what_is_never_waited_for_is_unknown(kind: str) -> None:
    tape = rank_zero()
    tape.call(kind, 0 if kind == "barrier" else MIB, is_async=True)  # type: ignore[arg-type]
    compute(tape, 3)
    (call,) = calls_of(tape.tape())
    assert beside(call) is None
    assert not call.is_exposed


def test_folding_changes_nothing() -> None:
    tape = ddp(3, layers=40)
    assert calls_of(tape) == calls_of(unfolded(tape))
    assert [call.module for call in calls_of(tape, step=2)] == [""] * 40
