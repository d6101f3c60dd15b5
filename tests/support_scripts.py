"""What tests of scripts share."""

from __future__ import annotations

import hashlib
from pathlib import Path


def tree_hash(folder: Path) -> dict[str, str]:
    """Name every file below a folder with what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }
