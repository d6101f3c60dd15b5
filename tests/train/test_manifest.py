"""A change of any byte of a checkpoint is found, and so is a missing or a shortened file."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from trainworthy.train import manifest as manifests
from trainworthy.train.manifest import Manifest, UnsoundError, file_facts, problems, read, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 3)
    (tmp_path / "inner" / "b.bin").write_bytes(b"hello")
    files = {name: file_facts(tmp_path / name) for name in ("a.bin", "inner/b.bin")}
    write(tmp_path, Manifest(step=7, sample=21, epoch=2, score=0.1 + 0.2, best=True, config={"x": [1]}, files=files))
    return tmp_path


def test_what_is_written_is_read(folder: Path) -> None:
    found = read(folder)
    assert (found.step, found.sample, found.epoch, found.score, found.best) == (7, 21, 2, 0.1 + 0.2, True)
    assert found.config == {"x": [1]}
    assert found.files["a.bin"].bytes == 768
    assert found.files["a.bin"].crc32 == zlib.crc32(bytes(range(256)) * 3)
    assert list(problems(folder)) == []
    assert json.loads((folder / "manifest.json").read_text())["step"] == 7, "any reader of JSON takes it"


def test_a_flipped_bit_in_any_byte_is_found(folder: Path) -> None:
    for name in ("manifest.json", "inner/b.bin"):
        path = folder / name
        original = path.read_bytes()
        for place in range(len(original)):
            changed = bytearray(original)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            assert list(problems(folder)) == [f"{name} does not have its checksum"], (name, place)
        path.write_bytes(original)
    assert list(problems(folder)) == []


def test_every_truncation_is_found(folder: Path) -> None:
    original = (folder / "manifest.json").read_bytes()
    for size in range(len(original)):
        (folder / "manifest.json").write_bytes(original[:size])
        assert list(problems(folder)) == ["manifest.json does not have its checksum"]
    (folder / "manifest.json").write_bytes(original)
    (folder / "a.bin").write_bytes(b"x")
    assert list(problems(folder)) == ["a.bin has 1 of 768 bytes"]


def test_missing_files_are_found_by_the_rank_whose_share_they_are(folder: Path) -> None:
    (folder / "inner" / "b.bin").unlink()
    assert list(problems(folder)) == ["inner/b.bin is missing"]
    assert list(problems(folder, rank=0, ranks=2)) == []
    assert list(problems(folder, rank=1, ranks=2)) == ["inner/b.bin is missing"]
    (folder / "manifest.json").unlink()
    assert list(problems(folder)) == ["it has no manifest.json, which is written last"]


def test_another_format_is_not_guessed_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "FORMAT", 2)
    with pytest.raises(UnsoundError, match="of a format that this version"):
        read(folder)
