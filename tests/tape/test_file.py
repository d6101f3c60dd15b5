from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tape.tapes import recorded_case, recorded_depth, tapes
from trainworthy.errors import TapeError, TapeVersionError
from trainworthy.tape.encode import encode_tape
from trainworthy.tape.file import load_tape, save_tape
from trainworthy.tape.record import SCHEMA_VERSION, Leaf, Segment, Tape
from zoo.small import CASES

keeps_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def signed(packed: bytes, version: int = SCHEMA_VERSION) -> bytes:
    return f"trainworthy-tape {version} {hashlib.sha256(packed).hexdigest()}\n".encode() + packed


def packed_json(value: Any) -> bytes:
    return signed(zlib.compress(json.dumps(value).encode()))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tape") / "real.tape"
    save_tape(recorded_case("mlp_checkpointed_reentrant"), path)
    return path.read_bytes()


def refusal(content: bytes, path: Path, **options: int) -> TapeError:
    """Load ``content``, want an error, and want it readable."""
    path.write_bytes(content)
    with pytest.raises(TapeError) as caught:
        load_tape(path, **options)
    assert caught.value.where == str(path)
    assert caught.value.fix
    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message
    return caught.value


# --- round trip ------------------------------------------------------------------------------------------------------


@given(tapes())
@keeps_tmp_path
def test_what_is_saved_is_loaded(tmp_path: Path, tape: Tape) -> None:
    save_tape(tape, tmp_path / "x.tape")
    loaded = load_tape(tmp_path / "x.tape")
    assert loaded == tape
    assert repr(loaded) == repr(tape)  # tuples stay tuples, True stays True


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_recorded_tape_is_loaded_as_it_was(name: str, tmp_path: Path) -> None:
    tape = recorded_case(name)
    tape.save(tmp_path / "x.tape")
    loaded = load_tape(str(tmp_path / "x.tape"))
    assert repr(loaded) == repr(tape)
    assert list(loaded.ops) == list(tape.ops)
    assert loaded.storages() == tape.storages()
    assert (tmp_path / "x.tape").stat().st_size < 16_000


def test_twice_the_layers_make_the_file_hardly_larger(tmp_path: Path) -> None:
    sizes = []
    for layers in (12, 24):
        save_tape(recorded_depth(layers), tmp_path / "x.tape")
        sizes.append((tmp_path / "x.tape").stat().st_size)
    assert sizes[1] < 1.2 * sizes[0]


def test_equal_tapes_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_tape(recorded_case("mlp_sgd"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_loading_imports_no_torch(tmp_path: Path) -> None:
    save_tape(recorded_case("mlp_sgd"), tmp_path / "x.tape")
    program = (
        "import sys; from trainworthy.tape.file import load_tape; tape = load_tape(sys.argv[1]); "
        "assert tape.memory().peak_bytes; assert tape.by_module(); assert tape.by_line(); assert len(list(tape.ops)); "
        "assert not [m for m in sys.modules if m.split('.')[0] in {'torch', 'numpy', 'pickle'}], 'imported'"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.tape")], check=True, timeout=60)


# --- saving ----------------------------------------------------------------------------------------------------------

EMPTY = Tape(signatures=(), sources=(), modules=(), classes=(), rows=(), segments=())


def test_an_older_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x.tape"
    path.write_text("old")
    path.chmod(0o640)
    save_tape(EMPTY, path)
    assert load_tape(path) == EMPTY
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save_tape(EMPTY, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load_tape(tmp_path / "real") == EMPTY


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("mine")
    with pytest.raises(TapeError, match="folder"):
        save_tape(EMPTY, tmp_path)
    assert (tmp_path / "keep").read_text() == "mine"
    assert [p.name for p in tmp_path.parent.iterdir() if p.suffix == ".part"] == []


@pytest.mark.parametrize("name", ["missing/x.tape", "x" * 300, "null\0byte"])
def test_a_path_that_cannot_be_written_is_one_message(name: str, tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="could not be written"):
        save_tape(EMPTY, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.tape"
    save_tape(EMPTY, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TapeError, match="No space left on device"):
        save_tape(recorded_case("mlp_sgd"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_neither_replaced_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TapeError, match="neither a file nor free"):
        save_tape(EMPTY, tmp_path / "pipe")
    with pytest.raises(TapeError, match="not a file"):
        load_tape(tmp_path / "pipe")


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, b"x", 1 << 63])
def test_notes_that_cannot_be_saved_are_named(value: object, tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="notes holds"):
        save_tape(replace(EMPTY, notes={"key": [value]}), tmp_path / "x.tape")
    assert list(tmp_path.iterdir()) == []


def test_notes_without_end_are_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TapeError, match="nested"):
        save_tape(replace(EMPTY, notes={"key": endless}), tmp_path / "x.tape")


def test_an_operation_that_does_not_fit_its_row_is_refused(tmp_path: Path) -> None:
    tape = recorded_case("mlp_sgd")
    wrong = replace(tape, segments=(Segment(0, True, (Leaf(0, (1,) * 50),)),))
    with pytest.raises(TapeError, match="50 integers"):
        save_tape(wrong, tmp_path / "x.tape")


# --- what is no tape -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty."),
        (b"PK\x03\x04 something", "The file is not a tape: its first line is another."),
        (b"trainworthy-ta", "The tape is truncated or damaged: its first line is not whole."),
        (b"trainworthy-tape x\n", "The tape is truncated or damaged: its first line is not whole."),
        (signed(b"not zlib"), "The tape is damaged: it cannot be unpacked."),
        (signed(b""), "The tape is damaged: it ends too early or too late."),
        (signed(zlib.compress(b"{}") + b"more"), "The tape is damaged: it ends too early or too late."),
        (signed(zlib.compress(b"{")), "The tape is damaged: what it unpacks to is not JSON."),
        (signed(zlib.compress("{'\u00e9'}".encode())), "The tape is damaged: what it unpacks to is not JSON."),
        (signed(zlib.compress(b"[" * 200_000)), "The tape is damaged: what it unpacks to is not JSON."),
        (signed(zlib.compress(b"9" * 5000)), "The tape is damaged: what it unpacks to is not JSON."),
        (packed_json([]), "The content is not that of a tape: its fields are others."),
        (packed_json({}), "The content is not that of a tape: its fields are others."),
    ],
)
def test_what_is_no_tape_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    assert refusal(content, tmp_path / "x.tape").message == message


@pytest.mark.parametrize("version", [0, 2, 999_999_999])
def test_another_version_says_both(version: int, saved: bytes, tmp_path: Path) -> None:
    error = refusal(saved.replace(b"tape 1 ", b"tape %d " % version, 1), tmp_path / "x.tape")
    assert isinstance(error, TapeVersionError)
    assert f"version {version} " in error.message
    assert f"reads version {SCHEMA_VERSION}." in error.message


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="No such file"):
        load_tape(tmp_path / "x.tape")
    with pytest.raises(TapeError, match="not a file"):
        load_tape(tmp_path)


@pytest.mark.parametrize("path", ["x" * 5000, "null\0byte"])
def test_an_impossible_path_is_one_message(path: str) -> None:
    with pytest.raises(TapeError):
        load_tape(path)


def test_a_bomb_does_not_go_off(tmp_path: Path) -> None:
    bomb = signed(zlib.compress(b" " * (80 << 20)))
    assert len(bomb) < 100_000
    assert "more than 67,108,864 bytes" in refusal(bomb, tmp_path / "x.tape").message
    assert "more than 1,000 bytes" in refusal(signed(b" " * 2000), tmp_path / "x.tape", max_bytes=1000).message


# --- fuzz ------------------------------------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_content_is_refused_or_makes_sense(data: st.DataObject, content: str, tmp_path: Path) -> None:
    value = json.loads(content)
    top = data.draw(st.sampled_from(sorted(value)))
    places = _places(value[top], (top,))
    for _ in range(data.draw(st.integers(1, 3))):
        _change(value, data.draw(st.sampled_from(places)), data)
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
    action = data.draw(st.sampled_from(["replace", "shift", "drop", "double"]))
    if action == "shift" and type(old) is int:
        value[last] = old + data.draw(st.sampled_from([-1, 1, 1000, 2**40]))
    elif action == "drop":
        del value[last]
    elif action == "double" and isinstance(value, list):
        value.insert(last, old)
    else:
        value[last] = data.draw(_replacements)


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
        "parameter_groups": [["SGD", "float32", "cpu", "contiguous", 1, 1]], "notes": {"dict": {}},
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
