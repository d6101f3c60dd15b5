"""``check --rehearse``: the dry rules on the tape of a rehearsal; this module needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainworthy.check.dry import dry_findings
from trainworthy.check.rule import all_rules

if TYPE_CHECKING:
    from trainworthy.check.finding import Finding
    from trainworthy.inspect import RehearsalResult


def check_rehearsed(target: str, **options: Any) -> tuple[tuple[Finding, ...], RehearsalResult]:
    """Rehearse ``target`` (options are those of ``rehearse``) and return what the dry rules find, and the rehearsal."""
    from trainworthy._api.rehearse import rehearse

    result = rehearse(target, **options)
    return dry_findings(result.tape), result


def add_dry_findings(result: RehearsalResult) -> None:
    """List the dry findings of a rehearsal among its own, those of rules that are on; a hint is a note there."""
    rules = all_rules()
    for found in dry_findings(result.tape):
        if not rules[found.code].default:
            continue
        severity = "note" if found.severity == "hint" else found.severity
        result.findings.append({
            "code": found.code, "severity": severity, "message": found.message, "path": found.place.path,
            "line": found.place.line, "fix": found.fix,
        })  # fmt: skip
