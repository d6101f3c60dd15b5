"""A tape played through the caching allocator: peaks, where they are, and what is alive there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from trainworthy.inspect.allocator import Block, CachingAllocator, OutOfMemory
from trainworthy.inspect.events import Event, memory_events
from trainworthy.tape.record import PHASES, Leaf, Node, Tape, count_ops

# Matrix products that go through cuBLAS; its first one takes the library's workspace from PyTorch's allocator. The
# backward pass runs in a thread of autograd's, which has a cuBLAS handle of its own and so takes another (seen on an
# H200, benchmarks/results/gpu_h200-sxm-141gb.json; ``CublasHandlePool.cpp`` keys workspaces by handle and stream).
_GEMMS = frozenset({"mm", "addmm", "bmm", "baddbmm", "linear"})

_BY_AUTOGRAD = frozenset({"backward", "recompute"})
WORKSPACES = (-2, -3)  # their storage numbers, the caller's and autograd's; those of a tape are not negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the allocator did. ``allocated`` counts whole blocks, as ``torch.cuda.memory_allocated`` does.

    ``live_at_peak`` counts the storages alive at the peak of ``allocated`` by storage class; the workspaces of the
    library (one for each thread that multiplies) are not among them but in ``workspace_at_peak_bytes``;
    ``rounding_bytes`` is what the blocks are larger than the storages rounded to 512 B. ``out_of_memory_op`` is the
    operation at which memory ran out, if it did.
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
        live[number] = allocator.allocate(workspace_bytes if number in WORKSPACES else sizes[which])
        if allocator.allocated_bytes > peak:
            peak, peak_op, peak_event = allocator.allocated_bytes, op, at
        if allocator.reserved_bytes > reserved:
            reserved, reserved_op = allocator.reserved_bytes, op
        if allocator.out_of_memory is not None:
            failed_op = op
            break
    alive, num_workspaces = _alive(events[: peak_event + 1])
    workspace = num_workspaces * (-(-workspace_bytes // 512) * 512)
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
    """List what the allocator is asked for, the library's workspace before the first matrix product of each thread."""
    events = memory_events(tape, device)
    for number, in_backward in zip(WORKSPACES, (False, True), strict=True):
        first = first_gemm(tape, in_backward=in_backward) if workspace_bytes else None
        if first is None:
            continue
        at = next((i for i, event in enumerate(events) if event.op > first), len(events))
        # Before the products of the operation itself: its output is there already, its end is not.
        while at > 0 and events[at - 1].op == first and events[at - 1].storage_class == -1:
            at -= 1
        events = [*events[:at], Event(first, 0, number), *events[at:]]
    return events


def first_gemm(tape: Tape, *, in_backward: bool = False) -> int | None:
    """Return the index of the first matrix product on the device of the training, in the backward pass or outside."""
    wanted = []
    for row in tape.rows:
        signature = tape.signatures[row.signature]
        on_device = any(t.device == tape.device for t in signature.outputs)
        is_gemm = signature.name.split(".")[0].removeprefix("aten::") in _GEMMS
        wanted.append(on_device and is_gemm and (PHASES[row.phase] in _BY_AUTOGRAD) == in_backward)
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


def _alive(events: list[Event]) -> tuple[dict[int, int], int]:
    born: dict[int, int] = {}
    for _, which, number in events:
        if which == -1:
            del born[number]
        else:
            born[number] = which
    num_workspaces = sum(born.pop(number, None) is not None for number in WORKSPACES)
    return dict(Counter(born.values())), num_workspaces
