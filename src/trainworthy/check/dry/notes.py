"""What a rehearsal noted for the dry rules beside its operations (``virtual/check_notes.py``)."""

from __future__ import annotations

from typing import Any

from trainworthy.check.dry.rows import place_of, template_of
from trainworthy.check.finding import Place
from trainworthy.tape.record import Source, Tape


def noted(tape: Tape, what: str) -> Any:
    """Return one of the notes; an empty list or dict where a tape has none, as those of ``record`` have."""
    found = (tape.notes.get("check") or {}).get(what)
    return found if found is not None else ({} if what in ("parameters", "batches", "made") else [])


def made_at(tape: Tape, module: str, source: Source) -> Place:
    """Return where a module was made, as far as that is known; else the place of an operation of it."""
    made = noted(tape, "made").get(template_of(module))
    return Place(*made) if made else place_of(source, tape)


def cause_in(note: dict[str, Any], tape: Tape) -> Place:
    """Return where an optimizer that a note speaks of was made, or its gradients were cleared; else where it steps."""
    path, line = note.get("cause") or ("", 0)
    return Place(path, line) if path else place_in(note, tape)


def place_in(note: dict[str, Any], tape: Tape) -> Place:
    """Return the place that a note speaks of; the script's first line where none is known."""
    if note.get("path") and note.get("line"):
        return Place(note["path"], note["line"])
    return Place(str(tape.notes.get("script") or "?"), 1)
