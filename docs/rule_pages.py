"""The pages of the rules, their index, and the table of findings in public projects."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from ecosystem_page import unread_section

from trainworthy.check.rule import FAMILIES, all_pages
from trainworthy.report.findings.page import rule_page

DOCS = Path(__file__).resolve().parent
FINDINGS = DOCS.parent / "benchmarks" / "results" / "ecosystem.json"


def rule_pages() -> dict[Path, str]:
    """Build a page for every rule, and the index."""
    rules = all_pages()
    pages = {DOCS / "rules" / f"{code}.md": rule_page(rule) for code, rule in rules.items()}
    lines = [
        "# Rules", "",
        f"{len(rules)} rules. `trainworthy explain CODE` prints a page; `# noqa: CODE` silences a line.",
        "Errors change what is trained, or stop it; warnings cost time, memory or repeatability; hints may be meant.",
    ]  # fmt: skip
    for prefix, family in FAMILIES.items():
        members = [one for one in rules.values() if one.code.startswith(prefix)]
        if members:
            lines += [
                "",
                f"## {prefix}: {family}",
                "",
                "| code | name | severity | found by | |",
                "|---|---|---|---|---|",
            ]
            lines += [
                f"| [{one.code}]({one.code}.md) | {one.name} | {one.severity}{'' if one.default else ' (off)'} "
                f"| {one.found_by} | {one.summary} |"
                for one in members
            ]
    pages[DOCS / "rules" / "README.md"] = "\n".join(lines) + "\n"
    return pages


def ecosystem_page() -> dict[Path, str]:
    """Build the table of every finding in public projects, with what reading the source said."""
    data: dict[str, Any] = json.loads(FINDINGS.read_text(encoding="utf-8"))
    findings = data["findings"]
    false = [one for one in findings if one["verdict"] != "true"]
    severe = Counter(one["severity"] for one in findings)
    kinds = f"{severe['error']} errors, {severe['warning']} warnings, {severe['hint']} hints"
    lines = [
        "# Findings in public projects", "",
        f"`trainworthy check` with its defaults on {len(data['repositories'])} public repositories, {data['files']:,}",
        f"files and {data['lines']:,} lines, read on {data['read']}: {len(findings)} findings ({kinds}), one in",
        f"{data['lines'] // max(len(findings), 1):,} lines. {len(false)} are false after reading the source.", "",
        "While the rules were written, the same reading found false alarms of TW101, TW303, TW308, TW311, TW356,",
        "TW357, TW412, TW423, TW443, TW502, TW703, TW802, TW805 and TW841; these rules were mended.", "",
        "A verdict says whether the source confirms what the message claims, not whether the authors should care:",
        "tests and examples do some of it on purpose.", "",
        "## Findings", "",
        "| repository | place | code | severity | verdict | reason |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in findings:
        cell = f" cell {one['cell']}" if one["cell"] else ""
        lines.append(
            f"| {one['repository']} | {one['path']}{cell}:{one['line']} | [{one['code']}](rules/{one['code']}.md) "
            f"| {one['severity']} | {one['verdict']} | {one['reason']} |"
        )
    counts = Counter(one["repository"] for one in findings)
    lines += ["", "## Repositories", "", "| repository | commit | files | findings |", "|---|---|---|---|"]
    lines += [
        f"| {one['repository']} | `{one['commit'][:12]}` | {one['files']} | {counts[one['repository']]} |"
        for one in data["repositories"]
    ]
    lines += unread_section()
    return {DOCS / "ecosystem.md": "\n".join(lines) + "\n"}
