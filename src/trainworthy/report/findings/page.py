"""The page of a rule, as Markdown: for `trainworthy explain TW201` and for docs/rules/."""

from __future__ import annotations

import textwrap

from trainworthy.check.rule import Rule
from trainworthy.report.findings.words import rule_url

_HEADINGS = ("What it finds", "Why", "How sure")


def rule_page(rule: Rule) -> str:
    """Write a rule's docstring and examples as a page."""
    state = "" if rule.default else ", off unless selected"
    lines = [
        f"# {rule.code} {rule.name}",
        "",
        f"*{rule.severity}, {rule.family}, found by: {rule.found_by}{state}*",
    ]
    lines += ["", *_body(rule)]
    for heading, program in (("Wrong", rule.bad), ("Right", rule.good)):
        if program:
            lines += ["", f"## {heading}", "", "```python", program.rstrip("\n"), "```"]
    return "\n".join([*lines, ""])


def rule_to_dict(rule: Rule) -> dict[str, object]:
    """Return the same as plain data."""
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity,
        "family": rule.family,
        "depths": list(rule.depths),
        "default": rule.default,
        "summary": rule.summary,
        "page": rule_page(rule),
        "bad": rule.bad,
        "good": rule.good,
        "url": rule_url(rule.code),
    }


def _body(rule: Rule) -> list[str]:
    lines: list[str] = []
    for line in textwrap.dedent(rule.page).strip().split("\n"):
        heading = line.rstrip(":")
        lines.append(f"## {heading}\n" if heading in _HEADINGS and line.endswith(":") else line.removeprefix("    "))
    return lines
