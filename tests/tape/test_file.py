from __future__ import annotations

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tape.disk import packed_json, refusal, signed
from tape.tapes import recorded_case, recorded_depth, tapes
from trainworthy.errors import TapeError, TapeVersionError
from trainworthy.tape.file import load_tape, save_tape
from trainworthy.tape.nodes import Leaf
from trainworthy.tape.record import SCHEMA_VERSION, Segment, Tape
from zoo.small import CASES

keeps_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("tape") / "real.tape"
    save_tape(recorded_case("mlp_checkpointed_reentrant"), path)
    return path.read_bytes()


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


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, 999_999_999])
def test_another_version_says_both(version: int, saved: bytes, tmp_path: Path) -> None:
    error = refusal(saved.replace(b"tape %d " % SCHEMA_VERSION, b"tape %d " % version, 1), tmp_path / "x.tape")
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
