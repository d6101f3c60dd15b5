"""The allocator's answer travels with a tape, and is void when anything it depends on has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tape.tapes import recorded_case
from trainworthy import load_tape
from trainworthy.inspect import allocator_note, summarize
from trainworthy.inspect.allocator import RULES_VERSION
from trainworthy.inspect.allocator_note import NOTE, allocator_answer
from trainworthy.tape.record import Tape


def _tape(**notes: Any) -> Tape:
    tape = recorded_case("mlp_sgd")
    return replace(tape, notes={**tape.notes, **notes})


@pytest.fixture
def no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the tape was played again")

    monkeypatch.setattr(allocator_note, "replay", refuse)


def test_a_summary_of_a_summarised_tape_plays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = summarize(_tape())
    first.tape.save(tmp_path / "a.tape")
    with monkeypatch.context() as patch:
        patch.setattr(allocator_note, "replay", None)
        again = summarize(load_tape(tmp_path / "a.tape"))
    assert again.to_dict() == first.to_dict()
    assert again.reserved_memory_bytes


@pytest.mark.usefixtures("no_replay")
def test_a_note_of_the_same_conditions_is_believed() -> None:
    note = {
        "rules_version": RULES_VERSION, "workspace_bytes": 1024, "limit_bytes": 9, "peak_allocated_bytes": 5,
        "peak_reserved_bytes": 7, "num_returned_segments": 0, "failed_op": None, "failed_requested_bytes": None,
        "failed_allocated_bytes": None, "failed_reserved_bytes": None,
    }  # fmt: skip
    tape = _tape(workspace_bytes=1024, driver_memory_bytes=10, context_bytes=1, allocator=note)
    assert allocator_answer(tape).peak_reserved_bytes == 7


@pytest.mark.parametrize(
    "change",
    [
        {"rules_version": RULES_VERSION + 1}, {"workspace_bytes": 5}, {"limit_bytes": 8}, {"peak_reserved_bytes": "7"},
        {"peak_allocated_bytes": None}, {"failed_op": 1 << 40}, {"failed_op": -1}, {"unknown": 1},
    ],
)  # fmt: skip
def test_any_other_note_is_void(change: dict[str, Any]) -> None:
    honest = summarize(_tape())
    note = {**honest.tape.notes[NOTE], **change}
    answer = allocator_answer(_tape(allocator=note))
    assert answer.peak_reserved_bytes == honest.reserved_memory_bytes


@pytest.mark.parametrize("note", [None, 3, [], {}, "x"])
def test_a_note_that_is_none_is_void(note: Any) -> None:
    assert allocator_answer(_tape(allocator=note)).peak_reserved_bytes == summarize(_tape()).reserved_memory_bytes


def test_a_tape_that_does_not_fit_keeps_where_it_failed() -> None:
    small = _tape(driver_memory_bytes=2 << 20, context_bytes=0)
    first = summarize(small)
    again = summarize(first.tape)
    assert first.out_of_memory is not None
    assert again.out_of_memory == first.out_of_memory
    assert first.tape.notes[NOTE]["failed_op"] is not None
