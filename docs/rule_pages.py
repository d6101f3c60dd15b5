"""The pages of the rules, and their index."""

from __future__ import annotations

from pathlib import Path

from trainworthy.check.rule import FAMILIES, all_pages
from trainworthy.report.findings.page import rule_page

DOCS = Path(__file__).resolve().parent


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
