"""What a rehearsal noted for the dry rules beside its operations (``virtual/check_notes.py``)."""

from __future__ import annotations

from typing import Any

from trainworthy.check.finding import Place
from trainworthy.tape.record import Tape


def noted(tape: Tape, what: str) -> Any:
    """Return one of the notes; an empty list or dict where a tape has none, as those of ``record`` have."""
    found = (tape.notes.get("check") or {}).get(what)
    return found if found is not None else ({} if what in ("parameters", "batches") else [])


def place_in(note: dict[str, Any], tape: Tape) -> Place:
    """Return the place that a note speaks of; the script's first line where none is known."""
    if note.get("path") and note.get("line"):
        return Place(note["path"], note["line"])
    return Place(str(tape.notes.get("script") or "?"), 1)
