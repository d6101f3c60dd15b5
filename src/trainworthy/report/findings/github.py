"""Annotations of GitHub Actions."""

from __future__ import annotations

from trainworthy.check.finding import Finding
from trainworthy.check.run import CheckResult
from trainworthy.report.findings.words import long_message

_LEVELS = {"error": "error", "warning": "warning", "hint": "notice"}
_MOST_SHOWN = 10  # annotations of a kind that GitHub shows of one step; it hides the rest without a word


def render_github(result: CheckResult) -> str:
    """Write a workflow command a finding; errors come first, since only the first ten of a kind are shown."""
    lines = [_command(one) for one in result.findings]
    hidden = len(result.findings) - _MOST_SHOWN
    if hidden > 0:
        lines.append(
            f"{len(result.findings)} findings; GitHub shows {_MOST_SHOWN} of a kind. --format sarif has them all."
        )
    return "\n".join(lines)


def _command(finding: Finding) -> str:
    place = finding.place
    fields = {
        "title": f"{finding.code} {finding.name}",
        "file": place.path,
        "line": place.line,
        "endLine": place.end_line or place.line,
        "col": place.column,
    }
    words = ",".join(f"{key}={_escaped(str(value), ',:')}" for key, value in fields.items() if value is not None)
    return f"::{_LEVELS[finding.severity]} {words}::{_escaped(long_message(finding), '')}"


def _escaped(text: str, also: str) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    for letter in also:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text
