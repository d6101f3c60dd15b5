"""Findings as text and in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainworthy.check.finding import Finding
from trainworthy.check.run import CheckResult
from trainworthy.report.findings.concise import render_concise
from trainworthy.report.findings.full import render_full
from trainworthy.report.findings.github import render_github
from trainworthy.report.findings.gitlab import render_gitlab
from trainworthy.report.findings.json import render_json
from trainworthy.report.findings.junit import render_junit
from trainworthy.report.findings.sarif import render_sarif

Renderer = Callable[[CheckResult], str]

MACHINE_FORMATS: dict[str, Renderer] = {
    "json": render_json,
    "sarif": render_sarif,
    "github": render_github,
    "gitlab": render_gitlab,
    "junit": render_junit,
}
FORMATS = ("full", "concise", *MACHINE_FORMATS)

__all__ = ["FORMATS", "MACHINE_FORMATS", "render_concise", "render_full", "statistics"]


def statistics(findings: Sequence[Finding]) -> str:
    """Count by code, most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for one in findings:
        counts[one.code, one.name] = counts.get((one.code, one.name), 0) + 1
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return "\n".join(f"{count:6}  {code}  {name}" for (code, name), count in rows)
