"""Save a tape to a file and load it again, without torch and without trust.

The file is a line of text, ``trainworthy-tape VERSION SHA256``, and then JSON compressed by zlib; the checksum is that
of the compressed bytes. Nothing in it is executed: no pickle, no class names. What makes no sense is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import zlib
from pathlib import Path
from typing import Any

from trainworthy.errors import TapeError, TapeVersionError
from trainworthy.tape.decode import decode_tape
from trainworthy.tape.encode import encode_tape
from trainworthy.tape.lifetimes import check_length
from trainworthy.tape.record import SCHEMA_VERSION, Tape

_MAX_BYTES = 64 << 20
_HEADER = re.compile(rb"trainworthy-tape ([0-9]{1,9}) ([0-9a-f]{64})\n")
_HEADER_START = b"trainworthy-tape "
_RECORD_AGAIN = "Record it again; a tape is only read whole."


def save_tape(tape: Tape, path: str | Path) -> None:
    """Write ``tape`` to ``path``; a file that is there is replaced as a whole, or not at all.

    Raises:
        TapeError: ``path`` cannot be written, or the tape holds what cannot be read back.
    """
    check_length(tape)
    text = json.dumps(encode_tape(tape), separators=(",", ":"), check_circular=False).encode("ascii")
    packed = zlib.compress(text, 9)
    header = b"%s%d %s\n" % (_HEADER_START, SCHEMA_VERSION, hashlib.sha256(packed).hexdigest().encode("ascii"))
    try:
        target = Path(path).resolve()  # a link stays a link; what it points to is replaced
        if target.is_dir():
            raise TapeError("A tape is one file, and this is a folder.", where=str(path), fix="Name a file in it.")
        if target.exists() and not target.is_file():  # a device must not be replaced by a file
            raise TapeError("This is neither a file nor free.", where=str(path), fix="Name another file.")
        _replace(target, header + packed)
    except (OSError, ValueError, RuntimeError) as error:  # a null byte; a link that leads to itself
        raise TapeError(f"The tape could not be written: {_reason(error)}.", where=str(path)) from error


def load_tape(path: str | Path, *, max_bytes: int = _MAX_BYTES) -> Tape:
    """Read a tape that ``save_tape`` wrote.

    Args:
        path: The file.
        max_bytes: The most bytes that the file may hold, both as it is and unpacked.

    Raises:
        TapeVersionError: The file was written in another version of the format.
        TapeError: There is no such file, or it is not a tape, damaged, or larger than ``max_bytes``.
    """
    try:
        return decode_tape(_parse(_unpack(_read(Path(path), max_bytes), max_bytes)))
    except TapeError as error:
        error.where = error.where or str(path)
        error.fix = error.fix or _RECORD_AGAIN
        raise


def _replace(target: Path, content: bytes) -> None:
    part = target.with_name(f".{secrets.token_hex(8)}.tape.part")
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            part.chmod(mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if not path.exists():
            raise TapeError("No such file.", fix="Check the path.")
        if not path.is_file():  # a pipe or a device could be read for ever
            raise TapeError("This is not a file.", fix="Name a file that Tape.save wrote.")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError, RuntimeError) as error:
        raise TapeError(f"The tape could not be read: {_reason(error)}.", fix="Check the path.") from error
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _unpack(content: bytes, max_bytes: int) -> bytes:
    """Check header and checksum and return the text."""
    header = _HEADER.match(content)
    if header is None:
        raise _no_header(content)
    version, packed = int(header[1]), content[header.end() :]
    if version != SCHEMA_VERSION:
        raise TapeVersionError(
            f"The tape is in version {version} of the format; this trainworthy reads version {SCHEMA_VERSION}.",
            fix="Record it again, or read it with the version of trainworthy that wrote it.",
        )
    if hashlib.sha256(packed).hexdigest().encode("ascii") != header[2]:
        raise TapeError("The tape is truncated or damaged: its checksum is another.")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed, max_bytes + 1)
    except zlib.error as error:
        raise TapeError("The tape is damaged: it cannot be unpacked.") from error
    if len(text) > max_bytes:
        raise _too_large(max_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise TapeError("The tape is damaged: it ends too early or too late.")
    return text


def _no_header(content: bytes) -> TapeError:
    if content.startswith(_HEADER_START) or (content and _HEADER_START.startswith(content)):
        return TapeError("The tape is truncated or damaged: its first line is not whole.")
    what = "The file is not a tape: its first line is another." if content else "The file is empty."
    return TapeError(what, fix="Name a file that Tape.save wrote.")


def _too_large(max_bytes: int) -> TapeError:
    return TapeError(
        f"The tape holds more than {max_bytes:,} bytes.",
        fix="If you trust where it comes from, load it with a larger max_bytes.",
    )


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text.decode("ascii"))
    except (ValueError, RecursionError) as error:  # a JSONDecodeError and a UnicodeDecodeError are ValueErrors
        raise TapeError("The tape is damaged: what it unpacks to is not JSON.") from error
