"""The snapshot, read by PyTorch's own functions."""

from __future__ import annotations

import copy
import pickle
import pickletools
import re
from typing import Any

import pytest
import torch.cuda._memory_viz as viewer

from report import cases
from report.tape_builder import small_training
from trainworthy.inspect.replay import replay
from trainworthy.report import memory_snapshot, render_memory_snapshot

# What the reader in torch/utils/viz/MemoryViz.js knows.
_KNOWN_OPCODES = {
    "APPENDS", "BINGET", "BININT", "BININT1", "BININT2", "EMPTY_DICT", "EMPTY_LIST", "FRAME", "LONG1", "LONG_BINGET",
    "MARK", "MEMOIZE", "PROTO", "SETITEMS", "SHORT_BINUNICODE", "STOP", "TUPLE2", "APPEND", "NEWFALSE", "BINPUT",
    "BINUNICODE", "EMPTY_TUPLE", "NEWTRUE", "NONE", "BINFLOAT", "TUPLE", "TUPLE1", "TUPLE3", "SETITEM",
}  # fmt: skip


def loaded(layers: int = 4) -> dict[str, Any]:
    found: dict[str, Any] = pickle.loads(render_memory_snapshot(small_training(layers=layers)))
    return found


def test_segments_sum() -> None:
    snapshot = loaded()
    text = viewer.segsum(snapshot)  # raises if blocks do not add up to their segment
    total = sum(segment["total_size"] for segment in snapshot["segments"])
    assert f"total_reserved: {viewer.Bytes(total)!r}" in text
    for segment in snapshot["segments"]:
        assert sum(block["size"] for block in segment["blocks"]) == segment["total_size"]


def test_the_trace_is_read_and_adds_up() -> None:
    snapshot = loaded()
    assert f"{len(snapshot['device_traces'][0])} entries" in viewer.trace(snapshot)
    live: dict[int, int] = {}
    for event in snapshot["device_traces"][0]:
        if event["action"] == "alloc":
            assert event["addr"] not in live
            live[event["addr"]] = event["size"]
        elif event["action"] == "free_completed":
            assert live.pop(event["addr"]) == event["size"]
    active = {b["address"]: b["requested_size"] for s in snapshot["segments"] for b in s["blocks"]
              if b["state"] == "active_allocated"}  # fmt: skip
    assert live == active


def test_reserved_is_what_the_replay_says() -> None:
    tape = small_training(layers=4)
    reserved = sum(e["size"] for e in memory_snapshot(tape)["device_traces"][0] if e["action"] == "segment_alloc")
    assert reserved == replay(tape, workspace_bytes=tape.notes["workspace_bytes"]).peak_reserved_bytes


def test_plots_and_flame_graphs_are_made() -> None:
    assert "Active Memory Timeline" in viewer.trace_plot(loaded())
    assert "Allocator State History" in viewer.segment_plot(loaded())
    lines = viewer.memory(copy.deepcopy(loaded()), format_flamegraph=lambda text: text)
    assert re.search(r"train\.py:\d+:parameter made by randn", lines)


def test_the_viewers_own_reader_knows_every_opcode() -> None:
    data = render_memory_snapshot(small_training(layers=30))
    assert {opcode.name for opcode, _, _ in pickletools.genops(data)} <= _KNOWN_OPCODES
    assert data[:2] == b"\x80\x04"


@pytest.mark.parametrize("case", cases.ALL)
def test_any_tape_can_be_written(case: str) -> None:
    viewer.segsum(pickle.loads(render_memory_snapshot(cases.ALL[case]().tape)))
