"""The page on public projects: every finding with the verdict of whoever read the source."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).resolve().parent
BENCHMARKS = DOCS.parent / "benchmarks"
Row = dict[str, Any]


def ecosystem_page() -> dict[Path, str]:
    """Build the page."""
    data = json.loads((BENCHMARKS / "results" / "ecosystem.json").read_text(encoding="utf-8"))
    manifest = tomllib.loads((BENCHMARKS / "ecosystem.toml").read_text(encoding="utf-8"))
    severe = [one for one in data["findings"] if one["severity"] != "hint"]
    hints = [one for one in data["findings"] if one["severity"] == "hint"]
    lines = [
        "# Findings in public projects", "",
        *_summary(data), "",
        *(line for one in manifest["first_look"] for line in (*_first_look(one), "")),
        "A verdict says whether the source confirms what the message claims, not whether the authors should care:",
        "tests and examples do some of it on purpose.", "",
        "## Errors and warnings", "",
        "| repository | place | code | severity | verdict | reason |", "|---|---|---|---|---|---|",
        *map(_severe_row, severe), "",
        "## Hints", "",
        "| code | repository | places | verdict |", "|---|---|---|---|",
        *_hint_rows(hints), "",
        "## What was false when it was first read", "",
        "The rules were mended after that.", "",
        "| code | places | why |", "|---|---|---|",
        *map(_mended_row, manifest["mended"]), "",
        "## Projects", "",
        "| project | commit | files | lines | findings |", "|---|---|---|---|---|",
        *_project_rows(data),
    ]  # fmt: skip
    return {DOCS / "ecosystem.md": "\n".join(lines) + "\n"}


def _summary(data: Row) -> list[str]:
    rows, findings = data["repositories"], data["findings"]
    files, size = (sum(row[name] for row in rows) for name in ("files", "lines"))
    severities, verdicts = (Counter(one[name] for one in findings) for name in ("severity", "verdict"))
    mended = sum(row["mended"] for row in rows)
    return [
        f"`trainworthy check` with its defaults on {len(rows)} public projects, {files:,} files and {size:,} lines, on",
        f"{data['date'][:10]}: {severities['error']} errors, {severities['warning']} warnings and",
        f"{severities['hint']} hints. By our reading of the source {verdicts['true']:,} are true,",
        f"{verdicts['false']} false, and {verdicts['unread']} have no verdict. Errors and warnings were read in the",
        "source, those of TW377, TW812 and TW844 by a search for the name and the lines shown;",
        "hints whose message says no more than the line shows have one verdict for all of a rule. Of the names that",
        "nothing binds (TW831) most were confirmed by pyflakes, which says the same of these lines.",
        "",
        f"Rules were written and mended on {mended} of the projects, which showed false alarms of TW101, TW303, TW308,",
        "TW311, TW356, TW357, TW412, TW423, TW443, TW502, TW703, TW802, TW805 and TW841 meanwhile. The other",
        f"{len(rows) - mended} were first checked after that, and what was false there was mended, too: no figure here",
        "speaks for code that nobody has read. `python -m benchmarks.ecosystem --root CLONES` checks them again.",
    ]


def _first_look(one: Row) -> list[str]:
    """Say how often the rules were wrong on what they had never seen."""
    names = [name.partition("/")[2] for name in one["projects"]]
    return [
        f"How often {one['of']} were wrong on code they had never seen, on {one['date']}:",
        f"on {', '.join(names[:-1])} and {names[-1]}",
        f"({one['lines']:,} lines) they reported {one['severe']} errors and warnings before anything was mended there,",
        f"{1000 * one['severe'] / one['lines']:.2f} in 1,000 lines, of which {one['false']} were false",
        f"({100 * one['false'] / one['severe']:.0f} %).",
    ]


def _mended_row(one: Row) -> str:
    return f"| {_link(one['code'])} | {'<br>'.join(one['places'])} | {one['reason']} |"


def _severe_row(one: Row) -> str:
    return (
        f"| {one['repository']} | {_place(one)} | {_link(one['code'])} | {one['severity']} | {one['verdict']} "
        f"| {one['reason']} |"
    )


def _hint_rows(hints: Iterable[Row]) -> list[str]:
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in hints:
        places.setdefault((one["code"], one["repository"], one["verdict"]), []).append(_place(one))
    return [
        f"| {_link(code)} | {repository} | {', '.join(found)} | {verdict} |"
        for (code, repository, verdict), found in sorted(places.items())
    ]


def _project_rows(data: Row) -> list[str]:
    counts = Counter(one["repository"] for one in data["findings"])
    return [
        f"| {row['repository']}{', ' + row['under'] if row['under'] else ''} | `{row['commit'][:12]}` | {row['files']} "
        f"| {row['lines']:,} | {counts[row['repository']]} |"
        for row in data["repositories"]
    ]


def _place(one: Row) -> str:
    return f"{one['path']}{' cell ' + str(one['cell']) if one['cell'] else ''}:{one['line']}"


def _link(code: str) -> str:
    return f"[{code}](rules/{code}.md)"
