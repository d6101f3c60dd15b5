"""Damaged, random and lying tape files: each is one ``TapeError``, in bounded time and memory."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tape.disk import packed_json, refusal, signed
from tape.tapes import recorded_case, recorded_depth
from trainworthy.errors import TapeError
from trainworthy.tape.encode import encode_tape
from trainworthy.tape.file import load_tape, save_tape
from trainworthy.tape.record import Tape

keeps_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tape") / "real.tape"
    save_tape(recorded_case("mlp_checkpointed_reentrant"), path)
    return path.read_bytes()


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_refused(data: st.DataObject, saved: bytes, tmp_path: Path) -> None:
    at = data.draw(st.integers(0, len(saved) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "drop"]))
    if kind == "flip":
        content = saved[:at] + bytes([saved[at] ^ data.draw(st.integers(1, 255))]) + saved[at + 1 :]
    elif kind == "cut":
        content = saved[:at]
    elif kind == "insert":
        content = saved[:at] + data.draw(st.binary(min_size=1, max_size=9)) + saved[at:]
    else:
        content = saved[:at] + saved[at + 1 + data.draw(st.integers(0, 9)) :]
    if content != saved:
        refusal(content, tmp_path / "x.tape")


@given(content=st.binary(max_size=200), resign=st.booleans())
@keeps_tmp_path
def test_random_bytes_are_refused(content: bytes, resign: bool, tmp_path: Path) -> None:
    refusal(signed(zlib.compress(content)) if resign else content, tmp_path / "x.tape")


_replacements: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-3, 300) | st.sampled_from([2**31, 2**62, 2**63, 10**30]) | st.floats()
    | st.sampled_from(["", "{}", "{0.__class__}", "}{", "cpu", "\0"]) | st.just([]) | st.just({}) | st.just([[]])
    | st.just({"times": 2**62, "body": [], "plus": []}) | st.just({"tuple": [1]}) | st.just({"dict": {"a": 1}})
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in _places(item, (*path, key)))]


@pytest.fixture(scope="module")
def content() -> str:
    return json.dumps(encode_tape(recorded_depth(2)))


def test_places_reach_everything(content: str) -> None:
    assert len(_places(json.loads(content))) > 2000


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_content_is_refused_or_makes_sense(data: st.DataObject, content: str, tmp_path: Path) -> None:
    value = json.loads(content)
    top = data.draw(st.sampled_from(sorted(value)))
    places = _places(value[top], (top,))
    for _ in range(data.draw(st.integers(1, 3))):
        _change(value, places[data.draw(st.integers(0, len(places) - 1))], data)
    (tmp_path / "x.tape").write_bytes(packed_json(value))
    try:
        tape = load_tape(tmp_path / "x.tape")
    except TapeError:
        return
    _use(tape)


def _change(value: Any, path: tuple[Any, ...], data: st.DataObject) -> None:
    *way, last = path
    try:
        for key in way:
            value = value[key]
        old = value[last]
    except (LookupError, TypeError):
        return  # an earlier change took it away
    if not isinstance(value, (dict, list)):
        return
    action = data.draw(st.sampled_from(["replace", "shift", "drop", "double"]))
    if action == "shift" and type(old) is int:
        value[last] = old + data.draw(st.sampled_from([-1, 1, 1000, 2**40]))
    elif action == "drop":
        del value[last]
    elif action == "double" and isinstance(value, list):
        value.insert(last, copy.deepcopy(old))
    else:
        value[last] = copy.deepcopy(data.draw(_replacements))  # a later change must not reach the strategy


def _use(tape: Tape) -> None:
    """Do what reports do with a tape; nothing may fail."""
    assert sum(1 for _ in tape.ops) == tape.num_ops
    tape.storages()
    for device in {tape.device, "cuda:0", "cpu"}:
        memory = tape.memory(device)
        assert all(size >= 0 for point in memory.points for size in point.by_kind_bytes.values())
    tape.by_module()
    tape.by_line()
    tape.unknown_flop_ops()
    for info in tape.model:
        info.template.format(*info.first)


# --- hostile, one by one ----------------------------------------------------------------------------------------------


def _small() -> dict[str, Any]:
    """One operation that makes storage 0 and lets it die; fields are as ``encode_tape`` writes them."""
    return {
        "tensors": [[[2], [1], "float32", "cpu"]], "signatures": [["mm", [], [0], 8, 0, 0, 0, 0, None]],
        "sources": [["", 0, "", None]], "modules": ["h.{}"], "classes": [["cpu", "temporary", 8, "mm", 0, 0]],
        "rows": [[0, 1, 0, 0, [0], [0]]], "segments": [[1, True, [[0, 7, 1, 1, 1]]]], "device": "cpu",
        "granularity_bytes": 1, "model": [["h.{}", "Linear", 1, [0], [0], 1, 1, 0, 4, [2], {"dict": {}}]],
        "parameter_groups": [["SGD", "float32", "cpu", "contiguous", 1, 1]], "groups": [], "notes": {"dict": {}},
    }  # fmt: skip


def test_the_small_tape_is_fine(tmp_path: Path) -> None:
    (tmp_path / "x.tape").write_bytes(packed_json(_small()))
    _use(load_tape(tmp_path / "x.tape"))


def _block(count: int, body: list[Any], plus: list[Any]) -> list[Any]:
    return [[1, True, [{"times": count, "body": body, "plus": plus}]]]


_LEAF = [0, 7, 1, 1, 1]
_NESTED: list[Any] = [_LEAF]
_BOMB: list[Any] = [_LEAF]
for _ in range(9):
    _NESTED = [{"times": 1, "body": _NESTED, "plus": [[0, 0, 0, 0]]}]
for _ in range(7):
    _BOMB = [{"times": 2**60, "body": _BOMB, "plus": [[0, 0, 0, 0]]}]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("modules", ["h.{0.__class__}"], r"modules\[0\] is 'h.{0.__class__}', not a module path"),
        ("modules", ["h.{"], "not a module path"),
        ("granularity_bytes", 0, "granularity_bytes is 0, not a whole number from 1"),
        ("granularity_bytes", True, "granularity_bytes is True"),
        ("device", None, "device is a NoneType, not text"),
        ("rows", [[0, 7, 0, 0, [0], [0]]], r"rows\[0\] is 7, not a place in a table of 7"),
        ("rows", [[-1, 1, 0, 0, [0], [0]]], r"rows\[0\] is -1, not a place"),
        ("rows", [[0, 1, 0, 0, [0]]], r"rows\[0\] has 5 entries, not 6"),
        ("rows", [[0, 1, 0, 0, [0, 0], [0]]], "integers, not 5, for row 0"),
        ("classes", [["cpu", "cache", 8, "mm", 0, 0]], "is 'cache', not one of parameter"),
        ("classes", [["cpu", "temporary", -8, "mm", 0, 0]], "is -8, not a whole number"),
        ("tensors", [[[2, 2], [1], "float32", "cpu"]], "2 sizes and 1 strides"),
        ("signatures", [["mm", [], [0], 8.0, 0, 0, 0, 0, None]], r"signatures\[0\] is 8.0, not a whole number"),
        ("signatures", [["mm", [], [0], 8, 0, 0, 0, 0, []]], r"signatures\[0\] has 0 entries, not 8"),
        ("segments", [[1, True, [[0, 7, 1, 1]]]], "3 integers, not 4, for row 0"),
        ("segments", [[1, True, [[1, 7, 1, 1, 1]]]], "is 1, not a place in a table of 1"),
        ("segments", [[1, True, [[]]]], "an operation has no row"),
        ("segments", [[1, True, ["x"]]], "not an operation or a block"),
        ("segments", [[1, True, [_LEAF, [0, 7, 0, 0, 0]]]], "Storage 1 is born twice"),
        ("segments", [[1, True, [[0, 7, 1, 1, 2]]]], "Storage 2 dies, but it is not alive"),
        ("segments", [[1, True, [[0, 7, 2, 1, 1]]]], "Storage 2 is used before its birth or after its death"),
        ("segments", [[1, True, [[0, 7, 2**24, 2**24, 2**24]]]], "A storage has the number"),
        ("segments", [[1, True, [[0, -1, 1, 1, 1]]]], "a module number is -1"),
        ("segments", _block(0, [_LEAF], [[0, 1, 1, 1]]), "the number of repetitions is 0"),
        ("segments", _block(2, [], []), "a block repeats nothing"),
        ("segments", _block(2, [_LEAF], []), "the increments has 0 entries, not 1"),
        ("segments", _block(2, [_LEAF], [[1, 1, 1]]), "3 increments for 4 integers"),
        ("segments", _block(2, [_LEAF], [[0, 0, 0, 0]]), "Storage 1 is born twice"),
        ("segments", _block(3, [_LEAF], [[-4, 1, 1, 1]]), "names a module by the number -1"),
        ("segments", _block(2**62, [_LEAF], [[0, 1, 1, 1]]), "more than 2,000,000 operations"),
        ("segments", [[1, True, _BOMB]], "more than 2,000,000 operations"),
        ("segments", [[1, True, _NESTED]], "nested more than 8 levels"),
        ("model", [["h.{}", "Linear", 1, [], [0], 1, 1, 0, 4, [2], {"dict": {}}]], "other numbers than its path"),
        ("model", [["h.{}", "Linear", 0, [0], [0], 1, 1, 0, 4, [2], {"dict": {}}]], "is 0, not a whole number from 1"),
        ("notes", {"tuple": []}, "notes is a tuple, not a dict"),
        ("notes", {"dict": {"a": {"set": []}}}, "not a value of notes"),
        ("notes", {"dict": {"a": 2**70}}, "is 1180591620717411303424, not a whole number"),
    ],
)
def test_a_lie_is_named(field: str, value: object, message: str, tmp_path: Path) -> None:
    error = refusal(packed_json({**_small(), field: value}), tmp_path / "x.tape")
    assert re.search(message, error.message), error.message


def test_nested_notes_are_refused(tmp_path: Path) -> None:
    notes: Any = 1
    for _ in range(40):
        notes = [notes]
    error = refusal(packed_json({**_small(), "notes": {"dict": {"a": notes}}}), tmp_path / "x.tape")
    assert "nested more than 32 levels" in error.message


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_the_longest_tape_that_is_read_takes_seconds(tmp_path: Path) -> None:
    segments = _block(2_000_000, [_LEAF], [[0, 1, 1, 1]])
    (tmp_path / "x.tape").write_bytes(packed_json({**_small(), "segments": segments}))
    program = (
        "import sys, time; from trainworthy.tape.file import load_tape; start = time.perf_counter(); "
        "print(load_tape(sys.argv[1]).num_ops, time.perf_counter() - start, "
        "open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.tape")],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    num_ops, seconds, rss_kb = done.stdout.split()
    assert int(num_ops) == 2_000_000
    assert float(seconds) < 60
    assert int(rss_kb) < 300_000
