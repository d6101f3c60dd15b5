"""A tape played through the caching allocator: peaks, where they are, and what is alive there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from trainworthy.inspect.allocator import Block, CachingAllocator, OutOfMemory
from trainworthy.inspect.events import Event, memory_events
from trainworthy.tape.record import Leaf, Node, Tape, count_ops

# Matrix products that go through cuBLAS; its first one takes the library's workspace from PyTorch's allocator.
_GEMMS = frozenset({"mm", "addmm", "bmm", "baddbmm", "linear"})

WORKSPACE = -2  # the storage number of the library's workspace; those of a tape are not negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the allocator did. ``allocated`` counts whole blocks, as ``torch.cuda.memory_allocated`` does.

    ``live_at_peak`` counts the storages alive at the peak of ``allocated`` by storage class; the workspace of the
    library is not among them but in ``workspace_at_peak_bytes``; ``rounding_bytes`` is what the blocks are larger than
    the storages rounded to 512 B. ``out_of_memory_op`` is the operation at which memory ran out, if it did.
    """

    peak_allocated_bytes: int
    peak_reserved_bytes: int
    peak_op: int
    reserved_op: int
    live_at_peak: dict[int, int]
    workspace_at_peak_bytes: int
    rounding_bytes: int
    num_returned_segments: int
    out_of_memory: OutOfMemory | None
    out_of_memory_op: int | None


def replay(
    tape: Tape, *, device: str | None = None, capacity_bytes: int | None = None, workspace_bytes: int = 0,
    events: list[Event] | None = None,
) -> Replay:  # fmt: skip
    """Play the tape through the caching allocator of ``device`` (default: the device of the training).

    With a capacity, the replay ends where memory runs out, as the script would. ``events`` are those that
    ``allocator_events`` lists, for who plays them more than once.
    """
    if events is None:
        events = allocator_events(tape, device or tape.device, workspace_bytes)
    sizes = [c.size_bytes for c in tape.classes]
    allocator = CachingAllocator(capacity_bytes=capacity_bytes)
    live: dict[int, Block] = {}
    peak = reserved = peak_op = reserved_op = peak_event = -1
    failed_op: int | None = None
    for at, (op, which, number) in enumerate(events):
        if which == -1:
            allocator.release(live.pop(number))
            continue
        live[number] = allocator.allocate(workspace_bytes if number == WORKSPACE else sizes[which])
        if allocator.allocated_bytes > peak:
            peak, peak_op, peak_event = allocator.allocated_bytes, op, at
        if allocator.reserved_bytes > reserved:
            reserved, reserved_op = allocator.reserved_bytes, op
        if allocator.out_of_memory is not None:
            failed_op = op
            break
    alive, has_workspace = _alive(events[: peak_event + 1])
    workspace = -(-workspace_bytes // 512) * 512 if has_workspace else 0
    tensors = sum(count * (-(-sizes[which] // 512) * 512) for which, count in alive.items())
    return Replay(
        peak_allocated_bytes=max(peak, 0),
        peak_reserved_bytes=max(reserved, 0),
        peak_op=max(peak_op, 0),
        reserved_op=max(reserved_op, 0),
        live_at_peak=alive,
        workspace_at_peak_bytes=workspace,
        rounding_bytes=max(peak, 0) - tensors - workspace,
        num_returned_segments=allocator.num_returned_segments,
        out_of_memory=allocator.out_of_memory,
        out_of_memory_op=failed_op,
    )


def allocator_events(tape: Tape, device: str, workspace_bytes: int) -> list[Event]:
    """List what the allocator is asked for, the workspace of the library before the first matrix product."""
    events = memory_events(tape, device)
    first = first_gemm(tape) if workspace_bytes else None
    if first is None:
        return events
    at = next((i for i, event in enumerate(events) if event.op > first), len(events))
    # Before the products of the operation itself: its output is there already, its end is not.
    while at > 0 and events[at - 1].op == first and events[at - 1].storage_class == -1:
        at -= 1
    return [*events[:at], Event(first, 0, WORKSPACE), *events[at:]]


def first_gemm(tape: Tape) -> int | None:
    """Return the index of the first matrix product on the device of the training."""
    wanted = []
    for row in tape.rows:
        signature = tape.signatures[row.signature]
        on_device = any(t.device == tape.device for t in signature.outputs)
        wanted.append(on_device and signature.name.split(".")[0].removeprefix("aten::") in _GEMMS)
    index = 0
    for segment in tape.segments:
        for node in segment.nodes:
            found = _first_in(node, wanted)
            if found is not None:
                return index + found
            index += count_ops(node)
    return None


def _first_in(node: Node, wanted: list[bool]) -> int | None:
    if isinstance(node, Leaf):
        return 0 if wanted[node.row] else None
    index = 0
    for child in node.body:
        found = _first_in(child, wanted)
        if found is not None:
            return index + found
        index += count_ops(child)
    return None


def _alive(events: list[Event]) -> tuple[dict[int, int], bool]:
    born: dict[int, int] = {}
    for _, which, number in events:
        if which == -1:
            del born[number]
        else:
            born[number] = which
    has_workspace = born.pop(WORKSPACE, None) is not None
    return dict(Counter(born.values())), has_workspace
