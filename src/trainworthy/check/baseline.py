"""The file of findings that are known: they are left out, and vanish from it when they are mended.

The key is the rule, the file and the text of the line, so that findings survive lines that move; equal lines are
counted.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from trainworthy.check.finding import Finding
from trainworthy.check.static.source import UnreadableError, read_source
from trainworthy.errors import UsageError

VERSION = 1
Key = tuple[str, str, str]


def key_of(finding: Finding) -> Key:
    """Return code, path, and the line's text without its spaces."""
    return finding.code, Path(finding.place.path).as_posix(), _line_text(finding)


def fingerprint(finding: Finding) -> str:
    """Return the key as a short text."""
    return hashlib.sha256("\0".join(key_of(finding)).encode()).hexdigest()[:32]


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """Return one for each, different where keys are equal."""
    seen: Counter[str] = Counter()
    found = []
    for one in findings:
        key = fingerprint(one)
        seen[key] += 1
        found.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return found


def without_known(findings: Iterable[Finding], known: Counter[Key]) -> list[Finding]:
    """Leave out those of the baseline, each entry as often as it stands there."""
    left = Counter(known)
    new = []
    for one in findings:
        key = key_of(one)
        if left[key] > 0:
            left[key] -= 1
        else:
            new.append(one)
    return new


def read_baseline(path: str) -> Counter[Key]:
    """Read a baseline; a file that is not there holds nothing.

    Raises:
        UsageError: If it is no baseline.
    """
    file = Path(path)
    if not file.exists():
        return Counter()
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise UsageError(
                f"The baseline has version {data['version']!r}.", where=path, fix="Write it again: --update-baseline."
            )
        return Counter({(one["code"], one["path"], one["line"]): int(one["count"]) for one in data["findings"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"Not a baseline: {error}.", where=path, fix="Write it again: --update-baseline.") from error


def write_baseline(path: str, findings: Iterable[Finding]) -> int:
    """Write the findings as known; return how many.

    Raises:
        UsageError: If the file cannot be written.
    """
    counts = Counter(key_of(one) for one in findings)
    rows = [{"code": code, "path": file, "line": line, "count": n} for (code, file, line), n in sorted(counts.items())]
    text = json.dumps({"version": VERSION, "findings": rows}, indent=1, ensure_ascii=False) + "\n"
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror}.", where="--baseline") from error
    return sum(counts.values())


def _line_text(finding: Finding) -> str:
    place = finding.place
    lines = _lines(place.path, place.cell)
    text = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    return " ".join(text.split())


@lru_cache(maxsize=256)
def _lines(path: str, cell: int | None) -> tuple[str, ...]:
    try:
        source = read_source(path)
    except UnreadableError:
        return ()
    if cell is None:
        return tuple(source.lines)
    return tuple(line for line, (number, _) in zip(source.lines, source.cells, strict=False) if number == cell)
