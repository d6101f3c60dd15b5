"""One line on a terminal that says how far a rehearsal is."""

from __future__ import annotations

import shutil
import sys
from typing import Any


class ProgressLine:
    """Says what each process does, several ranks side by side; silent when piped."""

    def __init__(self, *, label: str) -> None:
        self._label = label
        self._on = sys.stderr.isatty()
        self._width = 0
        self._shown = ""
        self._states: dict[int | None, str] = {}
        self._done = 0

    def __enter__(self) -> ProgressLine:
        self.show({"state": "starting", "ops": 0, "steps": 0})
        return self

    def __exit__(self, *exc: object) -> None:
        if self._on and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()

    def show(self, progress: dict[str, Any]) -> None:
        """Rewrite the line."""
        if not self._on:
            return
        text = self.text(progress)
        if text == self._shown:
            return
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._shown, self._width = text, max(self._width, len(text))

    def text(self, progress: dict[str, Any]) -> str:
        """Take news of one process, and return the line for all of them, no wider than the terminal."""
        rank = progress.get("rank")
        state = progress["state"]
        if progress["ops"]:
            state += f" · steps done: {progress['steps']} · {progress['ops']:,} operations"
        if rank is not None:
            self._states.pop(None, None)
        if rank is not None and progress["state"] == "done":
            self._done += 1
            self._states.pop(rank, None)
        else:
            self._states[rank] = state if rank is None else f"rank {rank}: {state}"
        parts = [
            self._label,
            *(self._states[key] for key in sorted(self._states, key=lambda k: -1 if k is None else k)),
        ]
        if self._done:
            parts.insert(1, f"ranks done: {self._done}")
        return " · ".join(parts)[: max(shutil.get_terminal_size().columns - 1, 20)]
