"""What only several ranks show: a planted fault is found with both lines, and nothing is found where none is."""

from __future__ import annotations

from typing import Any

import pytest

from report.cluster_tapes import Change, RankBuilder, ddp, fsdp, pipeline
from report.tape_builder import MIB
from trainworthy.inspect.cluster import shape_of
from trainworthy.inspect.collectives import calls_of
from trainworthy.inspect.rank_findings import rank_findings
from trainworthy.inspect.result import Finding
from trainworthy.tape.record import Tape


def findings(*tapes: Tape) -> list[Finding]:
    by_rank = {}
    for tape in tapes:
        shape = shape_of(tape)
        assert shape is not None
        by_rank[shape.rank] = tape
    first = shape_of(tapes[0])
    assert first is not None
    return rank_findings(by_rank, {rank: calls_of(tape) for rank, tape in by_rank.items()}, first)


def codes(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding["code"], finding["severity"]) for finding in found]


def lines(finding: Finding) -> list[tuple[int, int | None]]:
    return [(place["rank"], place["line"]) for place in finding["ranks"]]


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, found
    return found[0]


def adds(kind: Any, num_bytes: int = 4, **more: Any) -> Change:
    """Plant one more call at line 50 of every step."""

    def change(tape: RankBuilder, step: int) -> None:
        reads = tape.op("empty", step=step, births=(("temporary", 512),)) if num_bytes else ()
        tape.call(kind, num_bytes, step=step, line=50, reads=reads, deaths=reads, **more)

    return change


# --- nothing to find ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tapes", [
    [ddp(r, world_size=64) for r in (0, 1, 8, 63)],
    [fsdp(r) for r in (0, 1, 8, 63)],
    [pipeline(r) for r in range(4)],
    [pipeline(r, order="gpipe", micro_batches=7) for r in range(4)],
    [pipeline(0)],
    [ddp(r, before_step=adds("all_to_all", 4 * (r + 1))) for r in (0, 1)],
    [ddp(r, before_step=adds("gather", 4, peer=0, bytes_out=32 if r == 0 else 0)) for r in (0, 1)],
    [ddp(r, before_step=adds("broadcast", 4 if r == 2 else 0, peer=2, bytes_out=4)) for r in (0, 2)],
    [ddp(r, before_step=adds("all_gather", 40 + r, bytes_out=500, name="all_gather_object")) for r in (0, 1)],
    [ddp(r, before_step=adds("all_gather", 40 + r, bytes_out=80 + 2 * r, dtype="uint8")) for r in (0, 1)],
    [ddp(r, before_step=adds("all_gather", 40 + r, bytes_out=340)) for r in (0, 1)],  # every rank knows all sizes
], ids=["ddp", "hsdp", "1f1b", "gpipe", "one", "all_to_all", "gather", "root", "object", "bytes", "size"])  # fmt: skip
def test_no_false_alarm(tapes: list[Tape]) -> None:
    assert findings(*tapes) == []


@pytest.mark.parametrize("notes", [{"error": {"kind": "exception", "message": "", "path": None, "line": None}},
                                   {"partial": "time limit"}])  # fmt: skip
def test_a_rank_that_ended_early_is_compared_up_to_where_it_went(notes: dict[str, Any]) -> None:
    def short(rank: int, **more: Any) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        tape.call("all_reduce", MIB, step=1)
        return tape.tape(complete=False, **more)

    whole = RankBuilder(rank=1, world_size=2, gpus_per_node=2)
    whole.call("all_reduce", MIB, step=1)
    whole.call("barrier", 0, step=1, line=9)
    assert findings(short(0, **notes), whole.tape()) == []


def test_after_the_last_step_only_what_both_went_past_is_compared() -> None:
    def evaluates(rank: int, *, line: int, stop: int | None) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        tape.op("mm", step=1)
        if rank == 0:
            tape.call("all_reduce", 4, step=2, line=line)
        built = tape.tape(stopped_at={"path": "train.py", "line": stop} if stop else None)
        steps = [segment._replace(complete=segment.step < 2) for segment in built.segments]
        return type(built)(**{**{n: getattr(built, n) for n in built.__dataclass_fields__}, "segments": tuple(steps)})

    assert findings(evaluates(0, line=30, stop=None), evaluates(1, line=30, stop=None)) == []
    assert findings(evaluates(0, line=30, stop=12), evaluates(1, line=30, stop=13)) == []
    assert findings(evaluates(0, line=12, stop=12), evaluates(1, line=12, stop=12)) == []
    found = only(findings(evaluates(0, line=30, stop=12), evaluates(1, line=30, stop=12)))
    assert found["code"] == "TW401"


# --- calls that do not meet ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before_step", "after_step"])
def test_a_branch_of_one_rank_around_a_collective(when: str) -> None:
    found = only(findings(ddp(0, **{when: adds("all_reduce")}), ddp(1), ddp(7)))  # type: ignore[arg-type]
    assert codes([found]) == [("TW401", "error")]
    assert lines(found) == [(0, 50), (1, 15)]
    assert found["line"] == 50
    assert "train.py:50" in found["message"]
    assert "train.py:15" in found["message"]
    assert "after 1 call that agreed" in found["message"] or "after 5 calls that agreed" in found["message"]


def test_a_call_that_nothing_follows_on_the_other_rank() -> None:
    def one(rank: int) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        for step in (1, 2):
            tape.call("all_reduce", MIB, step=step, line=5)
        if rank == 0:
            tape.call("barrier", 0, step=2, line=50)
        return tape.tape()

    found = only(findings(one(0), one(1)))
    assert found["code"] == "TW401"
    assert lines(found) == [(0, 50), (1, 5)]
    assert "2 calls on it agreed before" in found["message"]


@pytest.mark.parametrize(("mine", "other", "what"), [
    (adds("all_reduce"), adds("broadcast", peer=0), "what they call"),
    (adds("all_reduce"), adds("all_reduce", 8), "size"),
    (adds("all_reduce"), adds("all_reduce", dtype="bfloat16"), "dtype"),
    (adds("all_reduce"), adds("all_reduce", reduce_op="max"), "how to reduce"),
    (adds("broadcast", peer=0), adds("broadcast", peer=1), "the root"),
    (adds("reduce_scatter", 64), adds("reduce_scatter", 128), "size"),
])  # fmt: skip
def test_calls_that_meet_and_differ(mine: Change, other: Change, what: str) -> None:
    found = only(findings(ddp(0, before_step=mine), ddp(1, before_step=other)))
    assert found["code"] == "TW401"
    assert f"disagree in {what}" in found["message"]
    assert lines(found) == [(0, 50), (1, 50)]


def test_unequal_all_gather() -> None:
    found = only(findings(ddp(0, before_step=adds("all_gather", 40)), ddp(1, before_step=adds("all_gather", 48))))
    assert codes([found]) == [("TW403", "error")]
    assert "float32[10]" in found["message"]
    assert "float32[12]" in found["message"]
    assert lines(found) == [(0, 50), (1, 50)]


def test_two_groups_in_opposite_order() -> None:
    def one(rank: int) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        second = tape.group("second", (0, 1))
        for group in (0, second) if rank == 0 else (second, 0):
            tape.call("all_reduce", 4, group=group, line=20 + group)
        return tape.tape()

    found = only(findings(one(0), one(1)))
    assert codes([found]) == [("TW401", "error")]
    assert "wait for each other" in found["message"]
    assert lines(found) == [(0, 20), (1, 21)]


def test_both_send_first() -> None:
    def one(rank: int) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        tape.call("send", MIB, peer=1 - rank, line=20)
        tape.call("recv", MIB, peer=1 - rank, line=21)
        return tape.tape()

    found = only(findings(one(0), one(1)))
    assert found["code"] == "TW401"
    assert "batch_isend_irecv" in (found["fix"] or "")
    assert lines(found) == [(0, 20), (1, 20)]


def test_a_receive_without_a_send() -> None:
    found = only(findings(*(pipeline(r, stages=2, forget_send=True) for r in range(2))))
    assert codes([found]) == [("TW405", "error")]
    assert "Rank 1 receives from rank 0 at train.py:20, and rank 0 never sends" in found["message"]


def test_a_send_without_a_receive() -> None:
    def one(rank: int) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        for _ in range(3):
            if rank == 0:
                tape.call("send", MIB, peer=1, line=20, is_async=True)
        tape.op("mm")
        return tape.tape()

    found = only(findings(one(0), one(1)))
    assert codes([found]) == [("TW405", "error")]
    assert "3 messages at train.py:20" in found["message"]


def test_messages_of_different_sizes() -> None:
    def one(rank: int) -> Tape:
        tape = RankBuilder(rank=rank, world_size=2, gpus_per_node=2)
        tape.call("recv" if rank else "send", MIB * (rank + 1), peer=1 - rank, line=20 + rank)
        return tape.tape()

    found = only(findings(one(0), one(1)))
    assert found["code"] == "TW401"
    assert lines(found) == [(0, 20), (1, 21)]


# --- groups -------------------------------------------------------------------------------------------------------


def made(*groups: tuple[list[int], int], local: bool = False) -> list[dict[str, Any]]:
    return [{"ranks": ranks, "path": "train.py", "line": line, "local": local} for ranks, line in groups]


def test_groups_in_another_order() -> None:
    found = only(findings(
        ddp(0, groups_created=made(([0, 1], 5), ([2, 3], 6))), ddp(2, groups_created=made(([2, 3], 8), ([0, 1], 9)))
    ))  # fmt: skip
    assert codes([found]) == [("TW404", "error")]
    assert lines(found) == [(0, 5), (2, 8)]


def test_a_group_that_only_its_members_make() -> None:
    found = only(findings(ddp(0, groups_created=made(([0, 1], 5))), ddp(2, groups_created=[])))
    assert found["code"] == "TW404"
    assert "rank 2 never does" in found["message"]
    local = made(([0, 1], 5), local=True)
    assert findings(ddp(0, groups_created=local), ddp(2, groups_created=[])) == []
    assert findings(ddp(0, groups_created=made(([0, 1], 5))), ddp(2)) == []  # no note: not judged


# --- buffers, parameters, devices ---------------------------------------------------------------------------------


def batch_norm(tape: RankBuilder, step: int) -> None:
    tape.op("native_batch_norm", step=step)


def test_buffers_that_are_not_broadcast() -> None:
    note = {"module": "net", "buffers": ["bn.running_mean"], "broadcast_buffers": False, "line": 6}
    found = only(findings(ddp(0, ddp=[note]), ddp(1, ddp=[note])))
    assert codes([found]) == [("TW406", "warning")]
    assert "bn.running_mean" in found["message"]


def test_batch_statistics_are_a_note() -> None:
    note = {"module": "net", "buffers": ["bn.running_mean", "bn.running_var"], "broadcast_buffers": True}
    tapes = [ddp(r, ddp=[note], before_step=batch_norm) for r in (0, 1)]
    assert codes(findings(*tapes)) == [("TW412", "note")]
    assert findings(*(ddp(r, ddp=[{**note, "buffers": []}], before_step=batch_norm) for r in (0, 1))) == []
    assert findings(*(ddp(r, ddp=[note]) for r in (0, 1))) == []  # no BatchNorm runs: SyncBatchNorm, or another buffer


def test_parameters_that_no_rank_updates() -> None:
    why = "gets no gradient"
    unused = [{"name": "layers.1.weight", "why": why}]
    found = only(findings(ddp(0, unused_parameters=unused), ddp(1, unused_parameters=unused)))
    assert found["code"] == "TW407"
    assert "1 trainable parameter (gets no gradient): layers.1.weight" in found["message"]
    assert findings(ddp(0, unused_parameters=unused), ddp(1)) == []  # of rank 1 nothing is known


def test_a_parameter_of_another_stage_is_no_objection() -> None:
    unused = [{"name": "head.9.weight", "why": "held by no optimizer"}]
    stages = [
        ddp(0, world_size=2, unused_parameters=unused, updated_parameters=["embedding.weight"]),
        ddp(1, world_size=2, unused_parameters=[], updated_parameters=["layers.0.weight"]),
    ]
    assert only(findings(*stages))["code"] == "TW407"


def test_parameters_that_other_ranks_may_update() -> None:
    unused = [
        [{"name": "a", "why": ""}, {"name": "b", "why": ""}],
        [{"name": "b", "why": ""}, {"name": "c", "why": ""}],
    ]
    two = [ddp(r, world_size=2, unused_parameters=unused[r]) for r in (0, 1)]
    assert "1 trainable parameter" in only(findings(*two))["message"]
    assert findings(*(ddp(r, world_size=8, unused_parameters=unused[r]) for r in (0, 1))) == []


def test_parameters_that_nobody_averages() -> None:
    notes: dict[str, Any] = {
        "ddp": [{"module": "net", "buckets": [25 * MIB]}],
        "unaveraged_parameters": [{"name": None, "shape": "float32[]"}],
    }
    found = only(findings(ddp(0, **notes), ddp(1, **notes)))
    assert codes([found]) == [("TW413", "warning")]
    assert "float32[]" in found["message"]
    # The script reduces something itself: it may be that gradient.
    by_hand = [ddp(r, after_step=adds("all_reduce"), **notes) for r in (0, 1)]
    assert findings(*by_hand) == []


def test_all_ranks_on_one_gpu() -> None:
    found = only(findings(ddp(0, device="cuda:0"), ddp(1, device="cuda:0")))
    assert codes([found]) == [("TW410", "error")]
    assert findings(ddp(0, gpus_per_node=1), ddp(1, gpus_per_node=1)) == []
    assert findings(ddp(0, device="cpu"), ddp(1, device="cpu")) == []
