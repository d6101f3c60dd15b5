"""What a checkpoint's folder must hold, byte for byte: how it is known that it is whole.

``manifest.json`` is written last. It lists every other file with its size and CRC-32, and has a checksum of itself, so
a truncated file, a flipped bit, a missing file or a folder whose copy was interrupted is found before anything is
loaded. (Without, a flipped bit in a weight loads silently: safetensors and ``torch.load`` check no contents.)

Needs no torch.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
NAME = "manifest.json"
_CHUNK_BYTES = 4 << 20


class UnsoundError(Exception):
    """A checkpoint is not whole; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is known of a file of a checkpoint."""

    bytes: int
    crc32: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself.

    Attributes:
        step: Optimizer steps done.
        sample: Number of the next sample (see ``loading``).
        epoch: Number of the epoch in which the next sample lies.
        ranks: Number of ranks that wrote it.
        sharded: Each rank wrote its shards of the tensors.
        best: It was the best so far when it was saved.
        score: What ``best`` was decided by; None: not evaluated.
        exactness: What a continued run must have in common with the one before to be bit-equal.
        config: The run's whole configuration.
        versions: Of trainworthy, torch and Python.
        saved_at: Date and time, UTC.
        files: Name within the folder -> facts.
    """

    step: int
    sample: int
    epoch: int
    ranks: int = 1
    sharded: bool = False
    best: bool = False
    score: float | None = None
    exactness: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    saved_at: str = ""
    files: Mapping[str, FileFacts] = field(default_factory=dict)


def file_facts(path: Path) -> FileFacts:
    """Return a file's size and checksum."""
    size, checksum = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size, checksum = size + len(chunk), zlib.crc32(chunk, checksum)
    return FileFacts(bytes=size, crc32=checksum)


def synced(path: Path) -> None:
    """Make sure that a file or folder is on the disk and not only in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(folder: Path, manifest: Manifest) -> None:
    """Write a checkpoint's manifest."""
    content = {
        "format": FORMAT,
        **{name: getattr(manifest, name) for name in manifest.__slots__ if name != "files"},
        "files": {name: {"bytes": facts.bytes, "crc32": facts.crc32} for name, facts in manifest.files.items()},
    }
    (folder / NAME).write_bytes(_sealed(json.dumps(content, indent=1).encode()))
    synced(folder / NAME)


def _sealed(text: bytes) -> bytes:
    """Return JSON with its own checksum as the last line, so that a change of any byte shows."""
    return text.removesuffix(b"\n}") + b',\n "checksum": %d\n}' % zlib.crc32(text)


def _opened(raw: bytes) -> dict[str, Any]:
    text = raw.rpartition(b',\n "checksum": ')[0] + b"\n}"
    if raw != _sealed(text):
        raise UnsoundError(f"{NAME} does not have its checksum")
    content: dict[str, Any] = json.loads(text)
    return content


def read(folder: Path) -> Manifest:
    """Read a checkpoint's manifest.

    Raises:
        UnsoundError: There is none, it is damaged, or it is of another format.
    """
    try:
        content = _opened((folder / NAME).read_bytes())
    except FileNotFoundError:
        raise UnsoundError(f"it has no {NAME}, which is written last") from None
    except OSError as error:
        raise UnsoundError(f"{NAME} cannot be read: {error.strerror}") from error
    if content.pop("format") != FORMAT:
        raise UnsoundError(f"{NAME} is of a format that this version of trainworthy does not read")
    files = {name: FileFacts(**facts) for name, facts in content.pop("files").items()}
    return Manifest(**content, files=files)


def problems(folder: Path, *, step: int | None = None, rank: int = 0, ranks: int = 1) -> Iterator[str]:
    """Yield what is wrong with a checkpoint; each rank reads its share of the files, and all read the manifest.

    Args:
        folder: Where it is.
        step: The step that its name says; None: not to be checked.
        rank: This rank.
        ranks: How many share the files.
    """
    try:
        manifest = read(folder)
    except UnsoundError as error:
        yield str(error)
        return
    if step is not None and step != manifest.step:
        yield f"its {NAME} is of step {manifest.step}"
    for name, facts in list(manifest.files.items())[rank::ranks]:
        try:
            found = file_facts(folder / name)
        except FileNotFoundError:
            yield f"{name} is missing"
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
        else:
            if found.bytes != facts.bytes:
                yield f"{name} has {found.bytes:,} of {facts.bytes:,} bytes"
            elif found.crc32 != facts.crc32:
                yield f"{name} does not have its checksum"
