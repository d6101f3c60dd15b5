"""The snapshot that PyTorch's memory viewer reads (pytorch.org/memory_viz, torch.cuda._memory_viz), from a tape.

It has the shape of ``torch.cuda.memory._snapshot()``: the segments and blocks that are left at the end, and every
event on the way, as the replay of the caching allocator's rules has them. Frames hold the user's line, the module and
what the memory is for. Nothing in it was measured.
"""

from __future__ import annotations

import pickle
from typing import Any

from trainworthy.inspect.allocator import Block, CachingAllocator
from trainworthy.inspect.workspaces import IN_CALL, allocator_requests
from trainworthy.tape.record import StorageClass, Tape

_PROTOCOL = 4  # the viewer has a reader of its own, which knows what torch writes and little more


def render_memory_snapshot(tape: Tape, *, device: str | None = None) -> bytes:
    """Render the pickle for the viewer; ``device`` defaults to the one the training ran on."""
    return pickle.dumps(memory_snapshot(tape, device=device), protocol=_PROTOCOL)


def memory_snapshot(tape: Tape, *, device: str | None = None) -> dict[str, Any]:
    """Build the snapshot as plain data."""
    workspace = tape.notes.get("workspace_bytes") or 0
    writer = _Writer(tape)
    for (op, which, number), num_bytes in allocator_requests(tape, device or tape.device, workspace):
        if which == -1:
            writer.release(op, number)
        elif num_bytes is not None:
            library = "cuDNN" if number == IN_CALL else "cuBLAS"
            writer.allocate(op, number, num_bytes, [_frame(f"workspace of {library}", "", 0)])
        else:
            writer.allocate(op, number, tape.classes[which].size_bytes, writer.frames(which))
    return {"segments": writer.segments(), "device_traces": [writer.trace], "allocator_settings": {}}


class _Writer:
    """Replays, and writes down what happens."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.allocator = CachingAllocator()
        self.trace: list[dict[str, Any]] = []
        self._live: dict[int, Block] = {}
        self._frames: dict[int, list[dict[str, Any]]] = {}
        self._by_block: dict[int, list[dict[str, Any]]] = {}

    def allocate(self, op: int, number: int, num_bytes: int, frames: list[dict[str, Any]]) -> None:
        known = len(self.allocator.segments)
        block = self.allocator.allocate(num_bytes)
        if len(self.allocator.segments) > known:
            segment = block.segment
            self._note("segment_alloc", op, segment.address, segment.size_bytes, frames)
        self._note("alloc", op, block.address, num_bytes, frames)
        self._live[number] = block
        self._by_block[block.address] = frames

    def release(self, op: int, number: int) -> None:
        block = self._live.pop(number)
        address, num_bytes = block.address, block.requested_bytes
        frames = self._by_block.pop(address)
        self._note("free_requested", op, address, num_bytes, frames)
        self._note("free_completed", op, address, num_bytes, frames)
        self.allocator.release(block)

    def frames(self, which: int) -> list[dict[str, Any]]:
        """Return the frames of a storage class, innermost first; equal ones are one object."""
        if which not in self._frames:
            self._frames[which] = _frames_of(self.tape, self.tape.classes[which])
        return self._frames[which]

    def segments(self) -> list[dict[str, Any]]:
        """Describe what is reserved at the end."""
        described = []
        for segment in self.allocator.segments.values():
            blocks = segment.blocks()
            active = sum(block.size_bytes for block in blocks if not block.is_free)
            described.append(
                {
                    "device": 0, "address": segment.address, "total_size": segment.size_bytes,
                    "allocated_size": active, "active_size": active,
                    "requested_size": sum(block.requested_bytes for block in blocks),
                    "stream": 0, "segment_type": "small" if segment.is_small else "large", "segment_pool_id": (0, 0),
                    "is_expandable": False, "frames": [], "blocks": [self._block(block) for block in blocks],
                }
            )  # fmt: skip
        return described

    def _block(self, block: Block) -> dict[str, Any]:
        return {
            "address": block.address,
            "size": block.size_bytes,
            "requested_size": block.requested_bytes,
            "state": "inactive" if block.is_free else "active_allocated",
            "frames": self._by_block.get(block.address, []),
        }

    def _note(self, action: str, op: int, address: int, num_bytes: int, frames: list[dict[str, Any]]) -> None:
        # The viewer joins free_requested and free_completed by changing them: no two events may be one object.
        self.trace.append(
            {"action": action, "addr": address, "size": num_bytes, "stream": 0, "time_us": op, "frames": frames}
        )


def _frames_of(tape: Tape, cls: StorageClass) -> list[dict[str, Any]]:
    source = tape.sources[cls.source]
    module = tape.modules[cls.module]
    frames = [_frame(f"{cls.kind} made by {cls.origin}", source.path or "?", source.line)]
    if module:
        frames.append(_frame(f"module {module.replace('{}', '*')}", source.path or "?", source.line))
    return frames


def _frame(name: str, path: str, line: int) -> dict[str, Any]:
    return {"name": name, "filename": path, "line": line}
