"""Findings with the source they speak of, evidence and fix."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from trainworthy.check.finding import Evidence, Finding, Place
from trainworthy.check.run import CheckResult
from trainworthy.report.findings.words import summary

_COLORS = {"error": "1;31", "warning": "1;33", "hint": "1;36", "frame": "34", "fix": "32", "bold": "1"}
Paint = Callable[[str, str], str]


def render_full(result: CheckResult, *, color: bool = False, sources: dict[str, str] | None = None) -> str:
    """Write each finding with a code frame; ``sources`` holds texts that are not in a file, such as standard input."""
    paint: Paint = _painted if color else lambda text, style: text
    frames = _Frames(sources or {}, paint)
    blocks = [_block(one, frames, paint) for one in result.findings]
    return "\n\n".join([*blocks, summary(result)])


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_COLORS[style]}m{text}\x1b[0m"


def _block(finding: Finding, frames: _Frames, paint: Paint) -> str:
    head = f"{paint(f'{finding.severity}[{finding.code}]', finding.severity)} {paint(finding.message, 'bold')}"
    lines = [head, f"{paint('  -->', 'frame')} {finding.place}  ({finding.name})"]
    lines += frames.frame(finding.place, finding.severity)
    for one in finding.evidence:
        lines += _evidence(one, finding.place, frames, paint)
    if finding.fix:
        lines.append(f"{paint('  fix', 'fix')}  {finding.fix}")
    return "\n".join(lines)


def _evidence(evidence: Evidence, place: Place, frames: _Frames, paint: Paint) -> list[str]:
    text = [f"{paint('   = ', 'frame')} {line}" for line in evidence.text.split("\n")]
    if evidence.place is None:
        return text
    where = evidence.place
    same = where.path == place.path
    text[-1] += f": line {where.line}" if same else f": {where}"
    return [*text, *frames.frame(where, "frame", border=False)]


class _Frames:
    """Draws lines of source with a mark under the span."""

    def __init__(self, sources: dict[str, str], paint: Paint) -> None:
        self._sources = sources
        self._paint = paint

    def frame(self, place: Place, style: str, *, border: bool = True) -> list[str]:
        """Return the lines of one place; nothing if the source cannot be read."""
        lines = self._lines(place)
        if not 0 < place.line <= len(lines):
            return []
        width = max(len(str(place.line)), 3)
        bar = self._paint("│", "frame")
        last = min(place.end_line or place.line, place.line + 3, len(lines))
        out = [f"{' ' * width} {bar}"] if border else []
        for number in range(place.line, last + 1):
            text = lines[number - 1].expandtabs(4)[:200]
            out.append(f"{self._paint(str(number).rjust(width), 'frame')} {bar} {text}")
            if number == place.line and place.column is not None:
                out.append(f"{' ' * width} {bar} {self._mark(place, lines[number - 1], style)}")
        if (place.end_line or place.line) > last:
            out.append(f"{' ' * width} {bar} ...")
        return out

    def _mark(self, place: Place, text: str, style: str) -> str:
        start = len(text[: (place.column or 1) - 1].expandtabs(4))
        one_line = place.end_line in (None, place.line) and place.end_column is not None
        end = len(text[: (place.end_column or 1) - 1].expandtabs(4)) if one_line else len(text.expandtabs(4).rstrip())
        return " " * start + self._paint("^" * max(1, min(end, 200) - start), style)

    def _lines(self, place: Place) -> list[str]:
        if place.path in self._sources:
            return self._sources[place.path].split("\n")
        return _file_lines(place.path, place.cell)


@lru_cache(maxsize=64)
def _file_lines(path: str, cell: int | None) -> list[str]:
    from trainworthy.check.static.source import UnreadableError, read_source

    try:
        source = read_source(path)
    except UnreadableError:
        return _plain_lines(path) if cell is None else []
    if cell is None:
        return source.lines
    return [line for line, (number, _) in zip(source.lines, source.cells, strict=False) if number == cell]


def _plain_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - the first lines are enough
            text = file.read(1 << 20)
    except OSError:
        return []
    return [line if line.isprintable() else "" for line in text.split("\n")]
