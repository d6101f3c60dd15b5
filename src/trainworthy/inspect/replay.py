"""A tape played through the caching allocator: peaks, where they are, and what is alive there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from trainworthy.inspect.allocator import Block, CachingAllocator, OutOfMemory
from trainworthy.inspect.workspaces import Request, allocator_requests
from trainworthy.tape.record import Tape


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the allocator did. ``allocated`` counts whole blocks, as ``torch.cuda.memory_allocated`` does.

    ``live_at_peak`` counts the storages alive at the peak of ``allocated`` by storage class; the workspaces of
    libraries are not among them but in ``workspace_at_peak_bytes``;
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
    requests: list[Request] | None = None,
) -> Replay:  # fmt: skip
    """Play the tape through the caching allocator of ``device`` (default: the device of the training).

    With a capacity, the replay ends where memory runs out, as the script would. ``requests`` are those
    that ``allocator_requests`` lists, for who plays them more than once.
    """
    if requests is None:
        requests = allocator_requests(tape, device or tape.device, workspace_bytes)
    sizes = [c.size_bytes for c in tape.classes]
    allocator = CachingAllocator(capacity_bytes=capacity_bytes)
    live: dict[int, Block] = {}
    peak = reserved = peak_op = reserved_op = peak_at = -1
    failed_op: int | None = None
    for at, ((op, which, number), num_bytes) in enumerate(requests):
        if which == -1:
            allocator.release(live.pop(number))
            continue
        live[number] = allocator.allocate(sizes[which] if num_bytes is None else num_bytes)
        if allocator.allocated_bytes > peak:
            peak, peak_op, peak_at = allocator.allocated_bytes, op, at
        if allocator.reserved_bytes > reserved:
            reserved, reserved_op = allocator.reserved_bytes, op
        if allocator.out_of_memory is not None:
            failed_op = op
            break
    alive, workspace = _alive(requests[: peak_at + 1])
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


def _alive(requests: list[Request]) -> tuple[dict[int, int], int]:
    """Count what is alive at the end by storage class, and sum the bytes of workspaces, rounded."""
    born: dict[int, int] = {}
    workspaces: dict[int, int] = {}
    for (_, which, number), num_bytes in requests:
        if which == -1:
            born.pop(number, None)
            workspaces.pop(number, None)
        elif num_bytes is None:
            born[number] = which
        else:
            workspaces[number] = -(-num_bytes // 512) * 512
    return dict(Counter(born.values())), sum(workspaces.values())
