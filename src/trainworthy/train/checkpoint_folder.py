"""The folder that holds a run's checkpoints: names, what is begun, committed, set aside and thrown away.

Every change is a rename, so that after a kill at any moment each name holds either all of a checkpoint or is one of
those that are never read. Used by rank 0 only, except for ``path`` and ``temporary``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from trainworthy.errors import TrainError
from trainworthy.train import manifest as manifests

_NAME = re.compile(r"step-\d{8,}")
_LOCK_WAIT_S = 20.0


class Folder:
    """A run's checkpoints on the disk.

    Args:
        path: The folder; made by :meth:`begin`.
        keep: How many of the newest are kept.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self.path = path
        self._keep = keep
        self._lock: int | None = None

    @staticmethod
    def name(step: int) -> str:
        """Return the name of the checkpoint after ``step`` steps; names sort by step."""
        return f"step-{step:08d}"

    @staticmethod
    def step(name: str) -> int:
        """Return the step of a checkpoint by its name."""
        return int(name.removeprefix("step-"))

    def temporary(self, step: int) -> Path:
        """Return where a checkpoint is written."""
        return self.path / f"{self.name(step)}.tmp"

    def names(self) -> list[str]:
        """Return the names of the checkpoints, oldest first."""
        if not self.path.is_dir():
            return []
        found = (entry.name for entry in self.path.iterdir() if _NAME.fullmatch(entry.name) and entry.is_dir())
        return sorted(found, key=self.step)

    def damaged(self) -> list[str]:
        """Return the names of those that were set aside as damaged."""
        return sorted(entry.name for entry in self.path.glob("*.damaged")) if self.path.is_dir() else []

    def open(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep other runs out, and clear away what a kill left behind.

        Raises:
            TrainError: Another run uses the folder.
            OSError: The folder cannot be used.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._take_lock(clock)
        for leftover in (*self.path.glob("step-*.tmp"), *self.path.glob("step-*.removed")):
            shutil.rmtree(leftover)
        for replaced in self.path.glob("step-*.replaced"):
            now = replaced.with_suffix("")
            if now.exists():
                shutil.rmtree(replaced)
            else:  # killed between two renames
                replaced.rename(now)

    def close(self) -> None:
        """Let another run use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self, clock: Callable[[], float]) -> None:
        import fcntl  # not on Windows, where torch's elastic launcher is not either

        # A lock of the process, not of the open file: loader workers, which are forks, do not inherit it.
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        deadline = clock() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EACCES, errno.EAGAIN}:
                    return  # a file system without locks
                if clock() < deadline:  # a run that was told to stop may still be saving
                    time.sleep(0.2)
                    continue
                self.close()
                raise TrainError(
                    "Another run uses this folder.",
                    where=str(self.path),
                    fix="Wait for it to end, or give this run a folder of its own.",
                ) from None
            return

    def set_aside(self, name: str, why: str) -> None:
        """Rename a checkpoint so that it is not read; one that was set aside before under that name is removed."""
        target = self.path / f"{name}.{why}"
        if target.exists():
            shutil.rmtree(target)
        (self.path / name).rename(target)

    def begin(self, step: int) -> None:
        """Make an empty folder to write into."""
        target = self.temporary(step)
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)

    def commit(self, step: int) -> None:
        """Give what was written its name, for good; then remove the checkpoints that are not to be kept."""
        final, replaced = self.path / self.name(step), self.path / f"{self.name(step)}.replaced"
        if final.exists():
            final.rename(replaced)
        self.temporary(step).rename(final)
        manifests.synced(self.path)
        if replaced.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        with contextlib.suppress(OSError):  # what could not be removed is tried again after the next
            self._prune()

    def discard(self, step: int) -> None:
        """Remove what was written, to make room."""
        shutil.rmtree(self.temporary(step), ignore_errors=True)

    def _prune(self) -> None:
        names = self.names()
        surplus = names[: -self._keep]
        best = next((name for name in reversed(names) if surplus and self._is_best(name)), None)
        for name in surplus:
            if name != best:
                removed = self.path / f"{name}.removed"
                (self.path / name).rename(removed)
                shutil.rmtree(removed)

    def _is_best(self, name: str) -> bool:
        try:
            return manifests.read(self.path / name).best
        except manifests.UnsoundError:
            return False
