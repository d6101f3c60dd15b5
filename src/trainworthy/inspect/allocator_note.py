"""What the caching allocator made of a tape, kept with the tape so that a report need not work it out again.

Playing a tape through the allocator (``replay.py``) takes as long as the tape has allocations, however well it is
folded. A rehearsal does it once; the answer travels in ``notes["allocator"]`` with what it was worked out for: the
version of the rules, the library's workspace and the memory that there was. With any of these another, it is void.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from trainworthy.inspect.allocator import RULES_VERSION
from trainworthy.inspect.replay import Replay, replay
from trainworthy.inspect.workspaces import allocator_requests
from trainworthy.tape.record import Tape

NOTE = "allocator"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocatorAnswer:
    """The figures of a replay that a report shows; ``limit_bytes`` is what the driver could give, None if unknown.

    The peaks are those with the limit if the tape fits it, and those without any if it does not; then the request that
    could not be served is in ``failed_*``.
    """

    rules_version: int
    workspace_bytes: int
    limit_bytes: int | None
    peak_allocated_bytes: int
    peak_reserved_bytes: int
    num_returned_segments: int
    failed_op: int | None = None
    failed_requested_bytes: int | None = None
    failed_allocated_bytes: int | None = None
    failed_reserved_bytes: int | None = None


def allocator_answer(tape: Tape) -> AllocatorAnswer:
    """Return the answer that the tape holds, or work it out."""
    return _noted(tape) or _worked_out(tape)


def as_note(answer: AllocatorAnswer) -> dict[str, Any]:
    """Return what belongs into the tape's notes."""
    return asdict(answer)


def _conditions(tape: Tape) -> tuple[int, int | None]:
    workspace = tape.notes.get("workspace_bytes") or 0
    driver, context = tape.notes.get("driver_memory_bytes"), tape.notes.get("context_bytes") or 0
    return workspace, None if driver is None else driver - context


def _noted(tape: Tape) -> AllocatorAnswer | None:
    note = tape.notes.get(NOTE)
    if not isinstance(note, dict) or note.keys() != {field.name for field in fields(AllocatorAnswer)}:
        return None
    optional = {field.name for field in fields(AllocatorAnswer) if field.default is None} | {"limit_bytes"}
    if any(not (type(value) is int or (value is None and name in optional)) for name, value in note.items()):
        return None
    answer = AllocatorAnswer(**note)
    if answer.failed_op is not None and not 0 <= answer.failed_op < tape.num_ops:
        return None
    is_same = (answer.workspace_bytes, answer.limit_bytes) == _conditions(tape)
    return answer if is_same and answer.rules_version == RULES_VERSION else None


def _worked_out(tape: Tape) -> AllocatorAnswer:
    workspace, limit = _conditions(tape)
    requests = allocator_requests(tape, tape.device, workspace)
    played = replay(tape, workspace_bytes=workspace, requests=requests)
    failed: Replay | None = None
    if limit is not None and played.peak_reserved_bytes > limit:
        # On the card the allocator would now give free segments back; if that is enough, the script runs.
        capped = replay(tape, workspace_bytes=workspace, capacity_bytes=limit, requests=requests)
        if capped.out_of_memory is None:
            played = capped
        else:
            failed = capped
    request = failed.out_of_memory if failed else None
    return AllocatorAnswer(
        rules_version=RULES_VERSION,
        workspace_bytes=workspace,
        limit_bytes=limit,
        peak_allocated_bytes=played.peak_allocated_bytes,
        peak_reserved_bytes=played.peak_reserved_bytes,
        num_returned_segments=played.num_returned_segments,
        failed_op=failed.out_of_memory_op if failed else None,
        failed_requested_bytes=request.requested_bytes if request else None,
        failed_allocated_bytes=request.allocated_bytes if request else None,
        failed_reserved_bytes=request.reserved_bytes if request else None,
    )
