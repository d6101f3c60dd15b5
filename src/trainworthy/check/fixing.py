"""Applies safe fixes: replacements that leave what a program means alone, apart from the fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from trainworthy.check.finding import Edit, Finding
from trainworthy.check.static.source import UnreadableError, parse_source, read_source
from trainworthy.errors import UsageError


def fixed_text(text: str, edits: Iterable[Edit]) -> str:
    """Apply edits from the end, leaving out those that overlap.

    A removed comment takes the spaces before it along.
    """
    lines = text.split("\n")
    done: tuple[int, int] | None = None
    for edit in sorted(set(edits), key=lambda one: (one.place.line, one.place.column or 0), reverse=True):
        place = edit.place
        start = (place.line, place.column or 1)
        end = (place.end_line or place.line, place.end_column or 1)
        if done is not None and end > done:
            continue
        before = lines[start[0] - 1][: start[1] - 1]
        after = lines[end[0] - 1][end[1] - 1 :]
        whole = before + edit.text + after if edit.text else before.rstrip() + after.rstrip()
        lines[start[0] - 1 : end[0]] = whole.split("\n")
        done = start
    return "\n".join(lines)


def fixes(findings: Iterable[Finding]) -> dict[str, list[Edit]]:
    """Return the edits by file; notebooks are left alone."""
    found: dict[str, list[Edit]] = {}
    for one in findings:
        for edit in one.edits:
            if edit.place.cell is None and edit.place.path != "-":
                found.setdefault(edit.place.path, []).append(edit)
    return found


def apply_fixes(findings: Iterable[Finding], *, write: bool) -> tuple[int, str]:
    """Mend files, or only show how; return how many changed, and the difference.

    Raises:
        UsageError: If a file cannot be written.
    """
    changed = 0
    diffs: list[str] = []
    for path, edits in sorted(fixes(findings).items()):
        try:
            source = read_source(path)
        except UnreadableError:
            continue
        new = fixed_text(source.text, edits)
        if new == source.text or not _parses(path, new):
            continue
        changed += 1
        diffs += difflib.unified_diff(source.text.splitlines(keepends=True), new.splitlines(keepends=True), path, path)
        if write:
            _write(path, source.text, new)
    return changed, "".join(line if line.endswith("\n") else line + "\n" for line in diffs)


def _parses(path: str, text: str) -> bool:
    try:
        parse_source(path, text)
    except UnreadableError:
        return False
    return True


def _write(path: str, old: str, new: str) -> None:
    file = Path(path)
    try:
        data = file.read_bytes()
        # Only files whose text came from UTF-8 are written; line ends are in the text as they are.
        if data.decode("utf-8") == old:
            file.write_bytes(new.encode("utf-8"))
    except UnicodeDecodeError:
        return
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror}.", where="--fix") from error
