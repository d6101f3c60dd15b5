"""Tape files made by hand, and what is wanted when one is refused."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from trainworthy.errors import TapeError
from trainworthy.tape.file import load_tape
from trainworthy.tape.record import SCHEMA_VERSION


def signed(packed: bytes, version: int = SCHEMA_VERSION) -> bytes:
    return f"trainworthy-tape {version} {hashlib.sha256(packed).hexdigest()}\n".encode() + packed


def packed_json(value: Any) -> bytes:
    return signed(zlib.compress(json.dumps(value).encode()))


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
