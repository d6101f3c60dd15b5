"""The highest point of memory: how much, where, and what is alive there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainworthy.inspect.allocator_note import AllocatorAnswer, allocator_answer
from trainworthy.tape.memory import HeldStorages, MemoryPoint, MemoryTimeline
from trainworthy.tape.nodes import Leaf, Node, count_ops, fill_template, shift
from trainworthy.tape.record import KINDS, PHASES, Phase, Source, Tape

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
    """Peak of the memory in live tensors, and what the caching allocator makes of it.

    ``allocated_bytes`` counts tensors only, as the tape's granularity rounds them. ``card_allocated_bytes`` is
    modelled: what ``torch.cuda.max_memory_allocated`` would say, with the workspace of libraries and the remainders
    of blocks.
    """

    allocated_bytes: int
    card_allocated_bytes: int | None
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
    allocator: AllocatorAnswer | None = None


def peak_memory(tape: Tape) -> PeakMemory:
    """Find the peak, by the rules of the caching allocator where the tape was recorded for it."""
    timeline = tape.memory()
    if timeline.peak is None:
        return PeakMemory(
            allocated_bytes=0, card_allocated_bytes=0 if _is_cached(tape) else None,
            reserved_bytes=0 if _is_cached(tape) else None, by_kind_bytes={}, held=(),
            timeline=timeline, index=0, step=None, phase=None, op=None, module="", source=None,
        )  # fmt: skip
    return _cached_peak(tape, timeline) if _is_cached(tape) else _tensor_peak(timeline, timeline.peak)


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


def _tensor_peak(timeline: MemoryTimeline, peak: MemoryPoint) -> PeakMemory:
    by_kind: dict[str, int] = {kind: peak.by_kind_bytes[kind] for kind in KINDS if kind in peak.by_kind_bytes}
    return PeakMemory(
        allocated_bytes=peak.total_bytes, card_allocated_bytes=None, reserved_bytes=None, by_kind_bytes=by_kind,
        held=timeline.held, timeline=timeline, index=peak.index, step=peak.step, phase=peak.phase, op=peak.op,
        module=peak.module, source=peak.source,
    )  # fmt: skip


def _cached_peak(tape: Tape, timeline: MemoryTimeline) -> PeakMemory:
    answer = allocator_answer(tape)
    assert timeline.peak is not None  # peak_memory has looked
    return replace(
        _tensor_peak(timeline, timeline.peak), card_allocated_bytes=answer.peak_allocated_bytes,
        reserved_bytes=answer.peak_reserved_bytes, num_returned_segments=answer.num_returned_segments,
        out_of_memory=_failure(tape, answer), allocator=answer,
    )  # fmt: skip


def _failure(tape: Tape, answer: AllocatorAnswer) -> MemoryFailure | None:
    if answer.failed_op is None:
        return None
    return MemoryFailure(
        requested_bytes=answer.failed_requested_bytes or 0, allocated_bytes=answer.failed_allocated_bytes or 0,
        reserved_bytes=answer.failed_reserved_bytes or 0, place=place_at(tape, answer.failed_op),
    )  # fmt: skip
