"""What the live guard says, as plain lines: the place first, as editors understand it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainworthy.check.finding import Finding


def render_guard(findings: Sequence[Finding], *, steps: int, seconds: float | None = None) -> str:
    """Return the findings, errors first, and one line that sums up.

    >>> render_guard([], steps=20)
    'trainworthy guard: nothing found in 20 steps; it has removed itself.'
    """
    lines = [line for finding in findings for line in finding_lines(finding)]
    seen = f"{steps} step{'' if steps == 1 else 's'}"
    if not findings:
        return f"trainworthy guard: nothing found in {seen}; it has removed itself."
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning", "hint")}
    words = [f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items() if n]
    return "\n".join([*lines, f"trainworthy guard: {', '.join(words)} in {seen}; it has removed itself."])


def finding_lines(finding: Finding) -> list[str]:
    """Return one finding: place, code and message; evidence and fix indented."""
    lines = [f"{finding.place}: {finding.severity} {finding.code} {finding.message} [{finding.name}]"]
    for evidence in finding.evidence:
        where = f"  ({evidence.place})" if evidence.place is not None else ""
        lines += [f"    {line}" for line in (evidence.text + where).splitlines()]
    if finding.fix:
        lines.append(f"    fix: {finding.fix}")
    return lines
