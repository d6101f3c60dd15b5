"""``# noqa`` and ``# noqa: TW101, TW203``: findings that the author has judged."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass, field

from trainworthy.check.finding import Edit, Finding, Hit, Place
from trainworthy.check.static.source import Source

# As ruff and flake8 read it; a list may hold codes of other tools.
_NOQA = re.compile(r"#\s*noqa(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?(?=\s|$|[,;#])", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]+[0-9]+", re.IGNORECASE)


@dataclass(slots=True)
class Noqa:
    """One comment.

    Attributes:
        place: Where it stands.
        codes: Its codes of ours; None silences everything.
        only_ours: Whether it holds no codes of other tools.
        used: The codes that silenced something.
    """

    place: Place
    codes: tuple[str, ...] | None
    only_ours: bool = True
    used: set[str] = field(default_factory=set)

    def silences(self, finding: Finding) -> bool:
        """Say whether it is about a finding, and remember that."""
        if self.codes is not None and finding.code not in self.codes:
            return False
        self.used.add(finding.code)
        return True


def read_noqas(source: Source) -> list[Noqa]:
    """Find the comments of a file."""
    # Reading tokens takes as long as all rules together; most comments are for other tools.
    if not any(one["codes"] is None or "TW" in one["codes"].upper() for one in _NOQA.finditer(source.text)):
        return []
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type == tokenize.COMMENT:
                noqa = _read(source, token)
                if noqa is not None:
                    found.append(noqa)
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # what ast takes and tokenize does not: the comments read so far count
    return found


def _read(source: Source, token: tokenize.TokenInfo) -> Noqa | None:
    match = _NOQA.search(token.string)
    if match is None:
        return None
    line, start = token.start[0], token.start[1] + match.start()
    place = source.span(line, start + 1, line, start + len(match.group()) + 1)
    if match["codes"] is None:
        return Noqa(place, None)
    codes = [code.upper() for code in _CODE.findall(match["codes"])]
    ours = tuple(code for code in codes if code.startswith("TW"))
    return Noqa(place, ours, only_ours=len(ours) == len(codes)) if ours else None


def without_silenced(findings: Iterable[Finding], noqas: Iterable[Noqa]) -> list[Finding]:
    """Leave out what a comment on one of its lines silences."""
    by_line: dict[tuple[str, int | None, int], list[Noqa]] = {}
    for noqa in noqas:
        by_line.setdefault((noqa.place.path, noqa.place.cell, noqa.place.line), []).append(noqa)
    kept = []
    for finding in findings:
        place = finding.place
        first, last = place.line, place.end_line or place.line
        # On the first line, or after the last one of a statement of several lines.
        lines = {first, last}
        near = [one for line in lines for one in by_line.get((place.path, place.cell, line), ())]
        silenced = [one.silences(finding) for one in near]
        if not any(silenced):
            kept.append(finding)
    return kept


def unused(noqas: Iterable[Noqa]) -> list[Hit]:
    """Report comments that silence nothing; a bare ``# noqa`` may be for another tool."""
    hits = []
    for noqa in noqas:
        rest = [code for code in noqa.codes or () if code not in noqa.used]
        if rest:
            whole = noqa.only_ours and not noqa.used
            edits = (Edit(noqa.place, ""),) if whole else ()
            names = ", ".join(rest)
            hits.append(Hit(place=noqa.place, message=f"nothing here is {names}", fix="Remove it.", edits=edits))
    return hits
