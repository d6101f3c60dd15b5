"""Open documents: what is found in them, and places in the editor's way of counting.

Editors count lines from 0 and columns in UTF-16 units; findings count both from 1, columns in characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

from trainworthy.check.config import Config, load_config
from trainworthy.check.finding import Edit, Finding, Place
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project
from trainworthy.errors import UsageError

_SEVERITY = {"error": 1, "warning": 2, "hint": 3}  # 3 is information: editors hardly show their own hints


@dataclass(slots=True)
class Document:
    """A document as the editor has it, and what was found in this version of it."""

    uri: str
    text: str
    version: int | None = None
    findings: tuple[Finding, ...] = ()
    problem: str | None = None
    lines: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Check the text; other files of the project are read from disk."""
        path = path_of(self.uri)
        self.lines = self.text.split("\n")
        try:
            config, self.problem = load_config(str(Path(path).parent)), None
        except UsageError as error:
            config, self.problem = Config(), error.message
        result = check_file(path, config, data=self.text.encode("utf-8"), project=Project())
        self.findings = tuple(f for f in collect([result], config).findings if f.place.path == result.path)

    # --- for the editor -------------------------------------------------------------------------------------------

    def diagnostics(self) -> list[dict[str, Any]]:
        """Return the findings as diagnostics."""
        return [self._diagnostic(one) for one in self.findings]

    def _diagnostic(self, finding: Finding) -> dict[str, Any]:
        words = [finding.message, *(e.text for e in finding.evidence if e.place is None)]
        if finding.fix:
            words.append(f"fix: {finding.fix}")
        related = [
            {"location": {"uri": self._uri_of(e.place), "range": self._range_of(e.place)}, "message": e.text}
            for e in finding.evidence
            if e.place is not None
        ]
        return {
            "range": self.range(finding.place), "severity": _SEVERITY[finding.severity], "code": finding.code,
            "source": "trainworthy", "message": "\n".join(words), "relatedInformation": related,
        }  # fmt: skip

    def actions(self, wanted: dict[str, Any], kinds: list[str]) -> list[dict[str, Any]]:
        """Return what can be done about findings in a range: safe fixes first, then silencing the line."""
        found = [f for f in self.findings if _meet(self.range(f.place), wanted)]
        actions = []
        for one in found if _asked("quickfix", kinds) else ():
            if one.edits:
                actions.append(self._action(f"{one.code}: {one.fix or 'mend'}", one.edits, "quickfix", one, True))
        for one in found if _asked("quickfix", kinds) else ():
            actions.append(self._action(f"{one.code}: silence this line", (self._noqa(one),), "quickfix", one, False))
        everything = tuple(edit for f in self.findings for edit in f.edits)
        if everything and _asked("source.fixAll", kinds):
            actions.append(self._action("trainworthy: mend all that is safe", everything, "source.fixAll", None, False))
        return actions

    def _action(
        self, title: str, edits: tuple[Edit, ...], kind: str, finding: Finding | None, preferred: bool
    ) -> dict[str, Any]:
        changes = [{"range": self.range(e.place), "newText": e.text} for e in dict.fromkeys(edits)]
        action: dict[str, Any] = {"title": title, "kind": kind, "edit": {"changes": {self.uri: changes}}}
        if finding is not None:
            action |= {"diagnostics": [self._diagnostic(finding)], "isPreferred": preferred}
        return action

    def _noqa(self, finding: Finding) -> Edit:
        line = finding.place.line
        text = self.lines[line - 1].rstrip() if line <= len(self.lines) else ""
        end = len(text) + 1
        separator = ", " if "# noqa:" in text else "  # noqa: "
        return Edit(Place(finding.place.path, line, end, line, end), f"{separator}{finding.code}")

    def finding_at(self, position: dict[str, int]) -> Finding | None:
        """Return the first finding over a position."""
        point = {"start": position, "end": position}
        return next((f for f in self.findings if _meet(self.range(f.place), point)), None)

    # --- places ---------------------------------------------------------------------------------------------------

    def range(self, place: Place) -> dict[str, Any]:
        """Return a place as a range; one without columns is its whole line."""
        line = max(place.line, 1)
        end_line = max(place.end_line or line, line)
        last = self.lines[end_line - 1] if end_line <= len(self.lines) else ""
        if place.column is None:
            first = self.lines[line - 1] if line <= len(self.lines) else ""
            start = len(first) - len(first.lstrip())
            end = len(last.rstrip())
        else:
            start = place.column - 1
            end = place.end_column - 1 if place.end_column is not None else len(last.rstrip())
        return {"start": self._position(line, start), "end": self._position(end_line, max(end, 0))}

    def _position(self, line: int, column: int) -> dict[str, int]:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return {"line": line - 1, "character": len(text[:column].encode("utf-16-le")) // 2}

    def _uri_of(self, place: Place) -> str:
        return self.uri if place.path == path_of(self.uri) else Path(place.path).resolve().as_uri()

    def _range_of(self, place: Place) -> dict[str, Any]:
        if place.path == path_of(self.uri):
            return self.range(place)
        start = {"line": place.line - 1, "character": (place.column or 1) - 1}
        return {"start": start, "end": start}


def path_of(uri: str) -> str:
    """Return the path of a ``file:`` URI; others are names.

    >>> path_of("file:///tmp/my%20script.py")
    '/tmp/my script.py'
    >>> path_of("untitled:Untitled-1")
    'Untitled-1'
    """
    parts = urlparse(uri)
    return url2pathname(parts.path) if parts.scheme == "file" else unquote(parts.path)


def _asked(kind: str, kinds: list[str]) -> bool:
    return not kinds or any(kind == one or kind.startswith(f"{one}.") or one.startswith(f"{kind}.") for one in kinds)


def _meet(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return _key(a["start"]) <= _key(b["end"]) and _key(b["start"]) <= _key(a["end"])


def _key(position: dict[str, int]) -> tuple[int, int]:
    return position["line"], position["character"]
