"""What a rehearsal on a virtual cluster found, as plain data: ranks, traffic, groups, overlap, pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainworthy.inspect.links import Link
from trainworthy.inspect.pipeline import PipelineSchedule
from trainworthy.tape.record import Source, Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterShape:
    """Which rank of how many a tape is of; ranks are numbered node by node."""

    rank: int
    world_size: int
    gpus_per_node: int

    @property
    def nodes(self) -> int:
        """Number of nodes, the last one perhaps not full."""
        return -(-self.world_size // self.gpus_per_node)


def shape_of(tape: Tape) -> ClusterShape | None:
    """Read the note of a rehearsal on a virtual cluster; None for any other tape."""
    note = tape.notes.get("cluster")
    if not isinstance(note, dict):
        return None
    world_size = int(note["world_size"])
    return ClusterShape(
        rank=int(note["rank"]), world_size=world_size,
        gpus_per_node=int(note.get("gpus_per_node") or min(world_size, 8)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """All calls of one kind on one group in one step, on one rank.

    ``payload_bytes`` is what libraries call the size (the larger of what goes in and what comes out).
    ``wire_bytes`` is what the rank sends in a ring; of it, ``wire_between_bytes`` leave the node, as the mean over the
    ranks of the group. ``exposed_calls`` have nothing computed beside them, ``hidden_calls`` have; what is neither is
    asynchronous and never waited for.
    """

    kind: str
    group: int
    link: Link
    calls: int
    payload_bytes: int
    wire_bytes: int
    wire_between_bytes: int
    largest_bytes: int
    async_calls: int
    exposed_calls: int
    hidden_calls: int

    @property
    def wire_inside_bytes(self) -> int:
        """What stays inside the node."""
        return self.wire_bytes - self.wire_between_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """Calls of one kind on one group that come from one line and module template, in one step.

    ``meanwhile_flops`` and ``meanwhile_bytes`` are what is computed and moved while at least one of the calls is under
    way; None if some are never waited for. ``exposed_bytes`` is what those send, or receive from a peer, that have
    nothing beside them.
    """

    kind: str
    group: int
    source: Source
    module: str
    phase: str
    calls: int
    payload_bytes: int
    wire_bytes: int
    largest_bytes: int
    async_calls: int
    exposed_calls: int
    exposed_bytes: int
    waited_at: Source | None
    meanwhile_flops: int | None
    meanwhile_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUse:
    """A process group of one rank, and what it carried in one step."""

    number: int
    name: str
    ranks: tuple[int, ...]
    backend: str
    link: Link
    calls: int
    payload_bytes: int
    wire_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Communication:
    """What one rank communicates in one step."""

    traffic: tuple[Traffic, ...]
    sites: tuple[CallSite, ...]
    groups: tuple[GroupUse, ...]

    @property
    def calls(self) -> int:
        """Number of calls."""
        return sum(t.calls for t in self.traffic)

    @property
    def payload_bytes(self) -> int:
        """Sum of the sizes of all calls."""
        return sum(t.payload_bytes for t in self.traffic)

    @property
    def wire_bytes(self) -> int:
        """What the rank sends."""
        return sum(t.wire_bytes for t in self.traffic)

    @property
    def wire_between_bytes(self) -> int:
        """The part of it that leaves the node."""
        return sum(t.wire_between_bytes for t in self.traffic)

    @property
    def exposed(self) -> tuple[CallSite, ...]:
        """Lines whose calls have nothing computed beside them, the most bytes first."""
        return tuple(sorted((s for s in self.sites if s.exposed_bytes), key=lambda s: -s.exposed_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRow:
    """One rank that was rehearsed, and those that it stands for.

    ``alike`` were rehearsed too and did the same; ``assumed`` were not rehearsed. ``differs_in`` says in what they
    are unlike the ranks of the first row.
    """

    rank: int
    alike: tuple[int, ...]
    assumed: tuple[int, ...]
    verdict: str
    peak_memory_bytes: int
    reserved_memory_bytes: int | None
    needed_memory_bytes: int
    flops_per_step: int | None
    collective_bytes_per_step: int | None
    wire_bytes_per_step: int | None
    error: dict[str, Any] | None
    differs_in: tuple[str, ...] = ()

    @property
    def stands_for(self) -> tuple[int, ...]:
        """Every rank of this row, itself included."""
        return tuple(sorted({self.rank, *self.alike, *self.assumed}))

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {
            "rank": self.rank, "stands_for": list(self.stands_for), "rehearsed": sorted({self.rank, *self.alike}),
            "verdict": self.verdict, "differs_in": list(self.differs_in), "peak_memory_bytes": self.peak_memory_bytes,
            "reserved_memory_bytes": self.reserved_memory_bytes, "flops_per_step": self.flops_per_step,
            "collective_bytes_per_step": self.collective_bytes_per_step,
            "wire_bytes_per_step": self.wire_bytes_per_step, "error": self.error,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterResult:
    """The many-rank view; ``communication`` is that of ``rank``, the one whose details the result shows."""

    rank: int
    world_size: int
    gpus_per_node: int
    ranks: tuple[RankRow, ...]
    communication: Communication
    pipeline: PipelineSchedule | None = None
    not_compared: str | None = None

    @property
    def rehearsed(self) -> tuple[int, ...]:
        """The ranks that were rehearsed."""
        return tuple(sorted(rank for row in self.ranks for rank in (row.rank, *row.alike)))

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return -(-self.world_size // self.gpus_per_node)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the stable machine interface."""
        shown = self.communication
        return {
            "world_size": self.world_size, "gpus_per_node": self.gpus_per_node, "rank": self.rank,
            "ranks": [row.to_dict() for row in self.ranks],
            "communication": [_traffic_dict(t) for t in shown.traffic],
            "call_sites": [_site_dict(site) for site in shown.sites],
            "groups": [_group_dict(group) for group in shown.groups],
            "pipeline": None if self.pipeline is None else self.pipeline.to_dict(),
        }  # fmt: skip


def _traffic_dict(t: Traffic) -> dict[str, Any]:
    return {
        "kind": t.kind, "group": t.group, "link": t.link.place, "calls": t.calls, "async_calls": t.async_calls,
        "exposed_calls": t.exposed_calls, "payload_bytes": t.payload_bytes, "wire_bytes": t.wire_bytes,
        "wire_inside_bytes": t.wire_inside_bytes, "wire_between_bytes": t.wire_between_bytes,
        "largest_bytes": t.largest_bytes,
    }  # fmt: skip


def _site_dict(site: CallSite) -> dict[str, Any]:
    waited = site.waited_at
    return {
        "kind": site.kind, "group": site.group, "path": site.source.path, "line": site.source.line,
        "module": site.module, "phase": site.phase, "calls": site.calls, "async_calls": site.async_calls,
        "exposed_calls": site.exposed_calls, "exposed_bytes": site.exposed_bytes,
        "payload_bytes": site.payload_bytes, "wire_bytes": site.wire_bytes,
        "largest_bytes": site.largest_bytes,
        "waited_at": None if waited is None else {"path": waited.path, "line": waited.line},
        "meanwhile_flops": site.meanwhile_flops, "meanwhile_bytes": site.meanwhile_bytes,
    }  # fmt: skip


def _group_dict(group: GroupUse) -> dict[str, Any]:
    return {
        "number": group.number, "name": group.name, "ranks": list(group.ranks), "backend": group.backend,
        "link": group.link.place, "hops": group.link.hops, "hops_between_nodes": group.link.hops_between,
        "calls": group.calls, "payload_bytes": group.payload_bytes, "wire_bytes": group.wire_bytes,
    }  # fmt: skip
