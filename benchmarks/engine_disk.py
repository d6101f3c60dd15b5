"""A file system that is soon full, for ``engine_kills``."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FILE_SYSTEM_BYTES = 12 << 20


@contextlib.contextmanager
def small_file_system(folder: Path) -> Iterator[bool]:
    """Mount a file system of 12 MiB on a folder; yields False where that is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_FILE_SYSTEM_BYTES}", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def fill(ballast: Path, where: Path, rest: int) -> None:
    """Leave ``rest`` bytes of a file system by writing a file that takes the others."""
    with ballast.open("wb", buffering=0) as file:
        while True:
            state = os.statvfs(where)
            left = state.f_bavail * state.f_frsize - rest
            if left <= 0:
                return
            try:
                file.write(bytes(min(left, 1 << 20)))
            except OSError:
                return
