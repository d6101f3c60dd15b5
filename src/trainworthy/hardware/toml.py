"""Reads a TOML file of a row, or says why it cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from trainworthy.errors import HardwareRowError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a file.

    Raises:
        HardwareRowError: If the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HardwareRowError(f"Cannot be read: {error}.", where=str(path)) from error
