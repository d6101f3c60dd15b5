"""Events of a folded tape are those of the unfolded one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from report.tape_builder import TapeBuilder, small_training, unfolded
from trainworthy.inspect.events import memory_events
from trainworthy.tape.nodes import Repeat


@given(st.integers(1, 12))
def test_folding_changes_no_event(layers: int) -> None:
    tape = small_training(layers=layers)
    assert memory_events(tape, "cuda:0") == memory_events(unfolded(tape), "cuda:0")
    if layers > 2:
        assert any(isinstance(node, Repeat) for segment in tape.segments for node in segment.nodes)


def test_events_agree_with_the_storages_of_the_tape() -> None:
    tape = small_training(layers=4)
    born = {e.number: e.op for e in memory_events(tape, "cuda:0") if e.storage_class >= 0}
    dead = {e.number: e.op + 1 for e in memory_events(tape, "cuda:0") if e.storage_class < 0}
    for storage in tape.storages():
        assert born[storage.number] == storage.birth
        assert dead.get(storage.number) == storage.death


def test_other_devices_and_empty_storages_are_left_out() -> None:
    builder = TapeBuilder()
    builder.op("empty", births=(("temporary", 0),))
    (host,) = builder.op("randn", births=(("input", 100),), device="cpu")
    builder.op("copy", births=(("input", 100),), deaths=(host,))
    events = memory_events(builder.build(), "cuda:0")
    assert [e.op for e in events] == [2]
