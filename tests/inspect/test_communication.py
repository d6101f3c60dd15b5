"""Bytes by kind, link, line and group: closed forms from 2 to 512 ranks."""

from __future__ import annotations

import pytest

from report.cluster_tapes import RankBuilder, ddp, fsdp, pipeline
from report.tape_builder import MIB
from trainworthy.inspect.cluster import ClusterShape, Communication, shape_of
from trainworthy.inspect.communication import communication
from trainworthy.tape.record import CollectiveKind, Tape

WORLDS = [2, 8, 64, 512]


def talk(tape: Tape) -> Communication:
    shape = shape_of(tape)
    assert shape is not None
    return communication(tape, shape)


def sent(kind: CollectiveKind, num_bytes: int, *, world_size: int, rank: int = 0, peer: int | None = None) -> int:
    tape = RankBuilder(rank=rank, world_size=world_size, gpus_per_node=min(world_size, 8))
    tape.call(kind, num_bytes, peer=peer, bytes_out=None if kind in ("all_gather", "reduce_scatter") else num_bytes)
    return talk(tape.tape()).wire_bytes


@pytest.mark.parametrize("n", WORLDS)
def test_ring_volumes(n: int) -> None:
    size = 512 * MIB
    assert sent("all_reduce", size, world_size=n) == 2 * (n - 1) * size // n
    assert sent("all_gather", size // n, world_size=n) == (n - 1) * size // n
    assert sent("reduce_scatter", size, world_size=n) == (n - 1) * size // n
    assert sent("all_to_all", size, world_size=n) == (n - 1) * size // n


@pytest.mark.parametrize("n", WORLDS)
def test_rooted_volumes(n: int) -> None:
    assert sent("broadcast", MIB, world_size=n, peer=0) == MIB
    assert sent("broadcast", MIB, world_size=n, rank=n - 1, peer=0) == 0  # the last of the chain
    assert sent("reduce", MIB, world_size=n, rank=n - 1, peer=0) == MIB
    assert sent("gather", MIB, world_size=n, rank=n - 1, peer=0) == MIB
    assert sent("scatter", n * MIB, world_size=n, peer=0) == (n - 1) * n * MIB
    assert sent("barrier", 0, world_size=n) == 0
    assert sent("send", MIB, world_size=n, peer=1) == MIB
    assert sent("recv", MIB, world_size=n, peer=1) == 0


def test_pieces_that_are_not_equal_are_rounded_up() -> None:
    assert sent("all_to_all", 10, world_size=4) == 9  # 12 bytes in four pieces of 3


def test_data_parallel_sends_each_gradient_once() -> None:
    found = talk(ddp(0, world_size=64, layers=4, bucket_bytes=25 * MIB))
    assert found.calls == 4
    assert found.payload_bytes == 100 * MIB
    assert found.wire_bytes == 2 * 63 * 100 * MIB // 64
    # A ring over 8 nodes of 8 has 8 hops of 64 between them.
    assert found.wire_between_bytes == found.wire_bytes // 8
    (traffic,) = found.traffic
    assert (traffic.link.place, traffic.async_calls, traffic.exposed_calls) == ("inside and between", 4, 1)


def test_sharded_training_by_link() -> None:
    found = talk(fsdp(0, world_size=64, gpus_per_node=8, layers=4, shard_bytes=MIB))
    by_kind = {(t.kind, found.groups[t.group].name): t for t in found.traffic}
    gathers = by_kind["all_gather", "shard"]
    assert (gathers.calls, gathers.wire_inside_bytes, gathers.wire_between_bytes) == (8, 8 * 7 * MIB, 0)
    replicas = by_kind["all_reduce", "replicate"]
    assert (replicas.wire_inside_bytes, replicas.wire_between_bytes) == (0, 4 * 2 * 7 * MIB // 8)
    # The first gather of each pass has nothing before its wait; the others run beside a layer.
    assert gathers.exposed_calls == 2
    assert gathers.hidden_calls == 6
    assert {site.source.line for site in found.exposed} == {21, 24, 25, 31}
    assert {g.name: g.calls for g in found.groups} == {"world": 1, "shard": 12, "replicate": 4}


def test_lines_know_what_runs_meanwhile() -> None:
    found = talk(fsdp(0))
    site = next(s for s in found.sites if s.source.line == 21 and s.phase == "forward")
    assert (site.module, site.calls, site.waited_at and site.waited_at.line) == ("layers.{}", 4, 22)
    assert site.meanwhile_flops == 3 * 10**9
    assert site.exposed_bytes == site.wire_bytes // 4


def test_stages_send_activations_to_their_peer() -> None:
    found = talk(pipeline(3, stages=4, gpus_per_node=4))
    assert {(t.kind, t.wire_bytes) for t in found.traffic} == {("send", 4 * MIB), ("recv", 0)}
    middle = talk(pipeline(3, stages=8, gpus_per_node=4))
    places = {(t.kind, t.link.place): t.calls for t in middle.traffic}
    assert places == {
        ("send", "between nodes"): 4, ("send", "inside a node"): 4, ("recv", "between nodes"): 4,
        ("recv", "inside a node"): 4,
    }  # fmt: skip
    assert all(site.exposed_bytes == 4 * MIB for site in middle.exposed)


def test_only_the_measured_step_counts() -> None:
    def barrier(tape: RankBuilder, step: int) -> None:
        tape.call("barrier", 0, step=step, line=99)

    tape = ddp(0, before_step=barrier)
    barriers = [t for t in talk(tape).traffic if t.kind == "barrier"]
    assert [b.calls for b in barriers] == [1]


def test_no_note_no_cluster() -> None:
    assert shape_of(RankBuilder(rank=0, world_size=2, gpus_per_node=2).build()) is None
    assert shape_of(ddp(5, world_size=64)) == ClusterShape(rank=5, world_size=64, gpus_per_node=8)
