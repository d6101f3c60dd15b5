"""What a rule reports (a hit) and what a user sees (a finding: the hit with its rule's code, name and severity)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "hint"]
Depth = Literal["static", "dry", "live"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")
DEPTHS: tuple[Depth, ...] = ("static", "dry", "live")


class Place(NamedTuple):
    """A span of source; lines and columns are counted from 1, the end column is the first one after the span.

    A notebook's lines are counted within ``cell``, and cells from 1.
    """

    path: str
    line: int
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    cell: int | None = None

    def __str__(self) -> str:
        """Write ``path:line:column``, as editors understand it."""
        cell = "" if self.cell is None else f":cell {self.cell}"
        column = "" if self.column is None else f":{self.column}"
        return f"{self.path}{cell}:{self.line}{column}"


class Edit(NamedTuple):
    """A replacement of a span that keeps what the program means, apart from the fault."""

    place: Place
    text: str


class Evidence(NamedTuple):
    """One reason to believe a finding: words (or a picture of several lines), and the place they speak of."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What a rule's function yields.

    Attributes:
        place: Where the harm is done.
        message: One line: what is wrong, with the values; only what is known, no guess.
        evidence: Why.
        fix: What to write instead, in words or code; None if that depends on what was meant.
        edits: The same as replacements; only where they are safe.
        severity: If this hit is less or more sure than its rule usually is.
        defects: What it speaks of, if other rules speak of the same: a finding is left out where graver ones have all.
    """

    place: Place
    message: str
    evidence: tuple[Evidence, ...] = ()
    fix: str | None = None
    edits: tuple[Edit, ...] = ()
    severity: Severity | None = None
    defects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem: which rule says so, where, why, and what to do about it.

    Attributes:
        code: The rule's code, such as ``"TW101"``.
        name: The rule's name, such as ``"accidental-broadcast"``.
        severity: How bad it is.
        depth: What it took to see it: source, the tape of a rehearsal, or real steps.
        place: Where the harm is done.
        message: One line.
        evidence: Why.
        fix: What to write instead.
        edits: The same as replacements.
        defects: What it speaks of, if other rules speak of the same.
    """

    code: str
    name: str
    severity: Severity
    depth: Depth
    place: Place
    message: str
    evidence: tuple[Evidence, ...] = ()
    fix: str | None = None
    edits: tuple[Edit, ...] = ()
    defects: frozenset[str] = frozenset()

    @property
    def order(self) -> tuple[int, str, int, int, int, str]:
        """Sort by this: errors first, then as one reads."""
        place = self.place
        return (
            SEVERITIES.index(self.severity),
            place.path,
            place.cell or 0,
            place.line,
            place.column or 0,
            self.code,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the stable form that ``--format json`` prints."""
        place = self.place
        return {
            "code": self.code,
            "name": self.name,
            "severity": self.severity,
            "path": place.path,
            "cell": place.cell,
            "line": place.line,
            "column": place.column,
            "end_line": place.end_line,
            "end_column": place.end_column,
            "message": self.message,
            "evidence": [_evidence_dict(one) for one in self.evidence],
            "depth": self.depth,
            "fix": self.fix,
            "safe_fix": bool(self.edits),
        }


def _evidence_dict(evidence: Evidence) -> dict[str, object]:
    place = evidence.place
    if place is None:
        return {"text": evidence.text}
    return {"text": evidence.text, "path": place.path, "line": place.line}


def finding_from_dict(raw: dict[str, Any]) -> Finding:
    """Read back what ``to_dict`` wrote; edits are not in it."""
    place = Place(raw["path"], raw["line"], raw["column"], raw["end_line"], raw["end_column"], raw["cell"])
    evidence = tuple(
        Evidence(one["text"], Place(one["path"], one["line"]) if "path" in one else None) for one in raw["evidence"]
    )
    return Finding(
        code=raw["code"], name=raw["name"], severity=raw["severity"], depth=raw["depth"], place=place,
        message=raw["message"], evidence=evidence, fix=raw["fix"],
    )  # fmt: skip
