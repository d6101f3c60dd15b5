"""The trace follows the Trace Event Format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from report import cases
from report.tape_builder import small_training
from trainworthy.report import render_trace
from trainworthy.tape.memory import exact_timeline_bytes


def events(layers: int = 4) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render_trace(small_training(layers=layers)))["traceEvents"]
    return found


@pytest.mark.parametrize("case", cases.ALL)
def test_any_tape_can_be_traced(case: str) -> None:
    assert "traceEvents" in json.loads(render_trace(cases.ALL[case]().tape))


def test_required_fields() -> None:
    for event in events():
        assert {"ph", "pid", "name"} <= set(event)
        assert event["ph"] in "MXBEC"
        if event["ph"] != "M":
            assert isinstance(event["ts"], int)


def test_modules_nest() -> None:
    stack: list[str] = []
    last = 0
    for event in events():
        if event["ph"] in "BE":
            assert event["ts"] >= last
            last = event["ts"]
            if event["ph"] == "B":
                stack.append(event["name"])
            else:
                assert stack.pop() == event["name"]
    assert stack == []


def test_one_event_an_operation_with_its_memory() -> None:
    tape = small_training(layers=4)
    ops = [op for op in tape.ops if op.step == 2]
    found = [e for e in events() if e["ph"] == "X"]
    assert [e["name"] for e in found] == [op.name for op in ops]
    assert [e["ts"] for e in found] == list(range(len(ops)))
    memory = exact_timeline_bytes(tape, "cuda:0")
    assert [e["args"]["bytes"] for e in events() if e["ph"] == "C"] == [memory[op.index] for op in ops]


def test_it_says_that_the_axis_is_not_time() -> None:
    assert "not time" in render_trace(small_training())
