"""What several formats say alike."""

from __future__ import annotations

from trainworthy.check.finding import Finding
from trainworthy.check.rule import Rule
from trainworthy.check.run import CheckResult

DOCS = "https://trainworthy.readthedocs.io/rules"  # the pages of docs/rules/


def rule_url(code: str) -> str:
    """Return the address of a rule's page."""
    return f"{DOCS}/{code}/"


def plural(count: int, word: str) -> str:
    """Write a count with its word.

    >>> plural(1, "file"), plural(2, "file")
    ('1 file', '2 files')
    """
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def summary(result: CheckResult) -> str:
    """Say in one line what was found."""
    looked = f"{plural(result.files, 'file')}, {plural(result.lines, 'line')}, {plural(len(result.rules), 'rule')}"
    if not result.findings:
        return f"Nothing found in {looked}."
    counts = [(word, sum(one.severity == word for one in result.findings)) for word in ("error", "warning", "hint")]
    parts = ", ".join(plural(count, word) for word, count in counts if count)
    fixable = sum(bool(one.edits) for one in result.findings)
    tail = f" {plural(fixable, 'finding')} can be mended with --fix." if fixable else ""
    return f"{parts} in {looked}.{tail}"


def long_message(finding: Finding) -> str:
    """Return the message with evidence and fix, for formats that have one field."""
    lines = [finding.message]
    for one in finding.evidence:
        lines.append(one.text if one.place is None else f"{one.text} ({one.place})")
    if finding.fix:
        lines.append(f"Fix: {finding.fix}")
    return "\n".join(lines)


def section(rule: Rule, heading: str) -> str:
    """Return one section of a rule's page as one paragraph."""
    text = rule.page.partition(f"\n{heading}:\n")[2]
    lines = []
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            break
        lines.append(line.strip())
    return " ".join(line for line in lines if line)
