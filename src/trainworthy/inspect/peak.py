"""The highest point of memory: how much, where, and what is alive there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trainworthy.inspect.replay import Replay, first_gemm, replay
from trainworthy.tape.memory import HeldStorages, MemoryPoint, MemoryTimeline
from trainworthy.tape.record import (
    KINDS,
    PHASES,
    Leaf,
    Node,
    Phase,
    Source,
    Tape,
    count_ops,
    fill_template,
    shift,
)

_CACHING_GRANULARITY_BYTES = 512  # a tape that counts in this unit was recorded for the CUDA caching allocator


@dataclass(frozen=True, slots=True, kw_only=True)
class OpPlace:
    """Where an operation is."""

    step: int
    phase: Phase
    op: str
    module: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFailure:
    """The request that the card could not serve, and where it came from."""

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    place: OpPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """Peak of allocated memory. ``timeline`` has the workspace of libraries in it, from where it is taken."""

    allocated_bytes: int
    reserved_bytes: int | None
    by_kind_bytes: dict[str, int]
    held: tuple[HeldStorages, ...]
    timeline: MemoryTimeline
    index: int
    step: int | None
    phase: Phase | None
    op: str | None
    module: str
    source: Source | None
    num_returned_segments: int = 0
    out_of_memory: MemoryFailure | None = None


def peak_memory(tape: Tape) -> PeakMemory:
    """Find the peak, by the rules of the caching allocator where the tape was recorded for it."""
    timeline = tape.memory()
    if timeline.peak is None:
        return PeakMemory(
            allocated_bytes=0, reserved_bytes=0 if _is_cached(tape) else None, by_kind_bytes={}, held=(),
            timeline=timeline, index=0, step=None, phase=None, op=None, module="", source=None,
        )  # fmt: skip
    return _cached_peak(tape, timeline) if _is_cached(tape) else _exact_peak(timeline, timeline.peak)


def place_at(tape: Tape, index: int) -> OpPlace:
    """Describe operation ``index``; only the blocks that hold it are unfolded."""
    for segment in tape.segments:
        for node in segment.nodes:
            size = count_ops(node)
            if index < size:
                leaf = _leaf_at(node, index)
                row = tape.rows[leaf.row]
                template = tape.modules[row.module]
                return OpPlace(
                    step=segment.step, phase=PHASES[row.phase], op=tape.signatures[row.signature].name,
                    module=fill_template(template, leaf.ints[: template.count("{}")]), source=tape.sources[row.source],
                )  # fmt: skip
            index -= size
    raise IndexError(f"the tape has no operation {index} beyond its end")


def _leaf_at(node: Node, index: int) -> Leaf:
    while not isinstance(node, Leaf):
        repetition, index = divmod(index, count_ops(node) // node.count)
        for child, increment in zip(node.body, node.increments, strict=True):
            size = count_ops(child)
            if index < size:
                node = shift(child, increment, repetition)
                break
            index -= size
    return node


def _is_cached(tape: Tape) -> bool:
    return tape.granularity_bytes == _CACHING_GRANULARITY_BYTES and tape.device.startswith("cuda")


def _exact_peak(timeline: MemoryTimeline, peak: MemoryPoint) -> PeakMemory:
    by_kind: dict[str, int] = {str(kind): size for kind, size in peak.by_kind_bytes.items()}
    return PeakMemory(
        allocated_bytes=peak.total_bytes, reserved_bytes=None, by_kind_bytes=_in_order(by_kind),
        held=timeline.held, timeline=timeline, index=peak.index, step=peak.step, phase=peak.phase, op=peak.op,
        module=peak.module, source=peak.source,
    )  # fmt: skip


def _cached_peak(tape: Tape, timeline: MemoryTimeline) -> PeakMemory:
    workspace = tape.notes.get("workspace_bytes") or 0
    driver, context = tape.notes.get("driver_memory_bytes"), tape.notes.get("context_bytes") or 0
    played = replay(tape, workspace_bytes=workspace)
    if driver is not None and played.peak_reserved_bytes + context > driver:
        # On the card the allocator would now give free segments back; if that is enough, the script runs.
        capped = replay(tape, workspace_bytes=workspace, capacity_bytes=driver - context)
        played = capped if capped.out_of_memory is None else replace(
            played, out_of_memory=capped.out_of_memory, out_of_memory_op=capped.out_of_memory_op
        )  # fmt: skip
    place = place_at(tape, played.peak_op)
    return PeakMemory(
        allocated_bytes=played.peak_allocated_bytes, reserved_bytes=played.peak_reserved_bytes,
        by_kind_bytes=_by_kind(tape, played), held=_held(tape, played),
        timeline=_with_workspace(timeline, first_gemm(tape) if workspace else None, workspace),
        index=played.peak_op, step=place.step, phase=place.phase, op=place.op, module=place.module,
        source=place.source, num_returned_segments=played.num_returned_segments,
        out_of_memory=_failure(tape, played),
    )  # fmt: skip


def _failure(tape: Tape, played: Replay) -> MemoryFailure | None:
    failure = played.out_of_memory
    if failure is None or played.out_of_memory_op is None:
        return None
    return MemoryFailure(
        requested_bytes=failure.requested_bytes, allocated_bytes=failure.allocated_bytes,
        reserved_bytes=failure.reserved_bytes, place=place_at(tape, played.out_of_memory_op),
    )  # fmt: skip


def _by_kind(tape: Tape, played: Replay) -> dict[str, int]:
    by_kind: dict[str, int] = dict.fromkeys(KINDS, 0)
    for which, count in played.live_at_peak.items():
        by_kind[tape.classes[which].kind] += count * _rounded(tape.classes[which].size_bytes)
    by_kind["workspace"] += played.workspace_at_peak_bytes
    by_kind["rounding"] = played.rounding_bytes
    return _in_order(by_kind)


def _in_order(by_kind: Mapping[str, int]) -> dict[str, int]:
    return {kind: by_kind[kind] for kind in (*KINDS, "rounding") if kind in by_kind}


def _held(tape: Tape, played: Replay) -> tuple[HeldStorages, ...]:
    groups: dict[tuple[int, int, int, str], list[int]] = {}
    for which, count in played.live_at_peak.items():
        cls = tape.classes[which]
        group = groups.setdefault((KINDS.index(cls.kind), cls.source, cls.module, cls.origin), [0, 0])
        group[0] += count
        group[1] += count * _rounded(cls.size_bytes)
    held = [
        HeldStorages(
            kind=KINDS[kind],
            source=tape.sources[source],
            module=tape.modules[module],
            origin=origin,
            num_storages=num,
            total_bytes=total,
        )
        for (kind, source, module, origin), (num, total) in groups.items()
    ]
    return tuple(sorted(held, key=lambda h: -h.total_bytes))


def _rounded(num_bytes: int) -> int:
    unit = _CACHING_GRANULARITY_BYTES
    return -(-num_bytes // unit) * unit


def _with_workspace(timeline: MemoryTimeline, first: int | None, workspace_bytes: int) -> MemoryTimeline:
    if first is None:
        return timeline
    extra = _rounded(workspace_bytes)
    points = tuple(
        replace(
            p,
            total_bytes=p.total_bytes + extra,
            by_kind_bytes={**p.by_kind_bytes, "workspace": p.by_kind_bytes["workspace"] + extra},
        )
        if p.index >= first
        else p
        for p in timeline.points
    )
    peak = max(points, key=lambda p: p.total_bytes, default=None)
    return replace(timeline, points=points, peak=peak)
