"""What the live guard says, as plain lines: the place first, as editors understand it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainworthy.check.finding import Finding
    from trainworthy.check.live.facts_setup import LeftOut


def render_guard(
    findings: Sequence[Finding], *, steps: int, left_out: Sequence[LeftOut] = (), failed: bool = False
) -> str:
    """Return the findings, errors first, what was left out, and one line that sums up.

    >>> render_guard([], steps=20)
    'trainworthy guard: nothing found in 20 steps; it has removed itself.'
    """
    lines = [line for finding in findings for line in finding_lines(finding)]
    lines += [left_out_line(one) for one in left_out]
    seen = f"{steps} step{'' if steps == 1 else 's'}"
    if failed:
        said = f"trainworthy guard: it failed itself after {seen}, and concludes nothing; it has removed itself."
        return "\n".join([*lines, said])
    if not findings:
        return "\n".join([*lines, f"trainworthy guard: nothing found in {seen}; it has removed itself."])
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning", "hint")}
    words = [f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items() if n]
    return "\n".join([*lines, f"trainworthy guard: {', '.join(words)} in {seen}; it has removed itself."])


def left_out_line(one: LeftOut) -> str:
    """Say which look failed by itself, and how."""
    return f"left out: {one.look} ({one.error})"


def finding_lines(finding: Finding) -> list[str]:
    """Return one finding: place, code and message; evidence and fix indented."""
    lines = [f"{finding.place}: {finding.severity} {finding.code} {finding.message} [{finding.name}]"]
    for evidence in finding.evidence:
        where = f"  ({evidence.place})" if evidence.place is not None else ""
        lines += [f"    {line}" for line in (evidence.text + where).splitlines()]
    if finding.fix:
        lines.append(f"    fix: {finding.fix}")
    return lines
