"""Run the dry rules on a tape."""

from __future__ import annotations

from trainworthy.check.finding import Finding
from trainworthy.check.rule import all_rules
from trainworthy.tape.record import Tape


def dry_findings(tape: Tape) -> tuple[Finding, ...]:
    """Return what the dry rules find, errors first; the same line and code once."""
    found: dict[tuple[str, str, int], Finding] = {}
    for rule in all_rules().values():
        for finding in rule.findings("dry", tape):
            found.setdefault((finding.code, finding.place.path, finding.place.line), finding)
    return tuple(sorted(found.values(), key=lambda f: f.order))
