"""JUnit XML: a suite a file, a failing case a finding."""

from __future__ import annotations

import re
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from trainworthy.check.finding import Finding
from trainworthy.check.run import CheckResult
from trainworthy.report.findings.words import long_message

# What XML 1.0 has no way to write.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(result: CheckResult) -> str:
    """Write the report; a check that finds nothing is one case that passed."""
    findings = sorted(result.findings, key=lambda one: (one.place.path, one.order))
    count = len(findings)
    lines = ['<?xml version="1.0" encoding="utf-8"?>']
    lines.append(f'<testsuites name="trainworthy" tests="{max(count, 1)}" failures="{count}" errors="0">')
    for path, group in groupby(findings, key=lambda one: one.place.path):
        members = list(group)
        lines.append(f'  <testsuite name={_quoted(path)} tests="{len(members)}" failures="{len(members)}" errors="0">')
        lines += [_case(one) for one in members]
        lines.append("  </testsuite>")
    if not findings:
        lines.append('  <testsuite name="trainworthy" tests="1" failures="0" errors="0">')
        lines.append('    <testcase name="check" classname="trainworthy"/>')
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"])


def _case(finding: Finding) -> str:
    place = finding.place
    name, message = _quoted(f"{finding.code} {finding.name}"), _quoted(finding.message)
    where = f'classname={_quoted(place.path)} line="{place.line}" column="{place.column or 1}"'
    text = escape(_FORBIDDEN.sub("?", f"{place}\n{long_message(finding)}"))
    failure = f'<failure type="{finding.severity}" message={message}>{text}</failure>'
    return f"    <testcase name={name} {where}>{failure}</testcase>"


def _quoted(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("?", text))
