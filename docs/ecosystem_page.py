"""The part of the page on public projects that tells of those that nobody read while the rules were written."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def unread_section() -> list[str]:
    """Build the lines: what was false at the first reading of these projects, and what was true."""
    data = tomllib.loads((BENCHMARKS / "ecosystem.toml").read_text(encoding="utf-8"))
    now = json.loads((BENCHMARKS / "results" / "ecosystem_unread.json").read_text(encoding="utf-8"))
    counts = Counter(one["severity"] for row in now["repositories"] for one in row["findings"])
    files, size = (sum(row[name] for row in now["repositories"]) for name in ("files", "lines"))
    false = [one for one in data["verdict"] if one["verdict"] == "false"]
    single = [one for one in data["verdict"] if one["verdict"] == "true" and "path" in one]
    whole = [one for one in data["verdict"] if one["verdict"] == "true" and "path" not in one]
    lines = [
        "", "## Projects that nobody had read", "",
        "The verdicts above are of projects on which rules were mended, so they say little of other code.",
        f"{len(data['repository'])} more, and accelerate again, were first checked on {data['read']}, and their",
        "errors and warnings read. The rules were mended after that. `python -m benchmarks.ecosystem --root CLONES`",
        f"checks the same commits again; on {now['date'][:10]}, after the mending, {counts['error']} errors,",
        f"{counts['warning']} warnings and {counts['hint']} hints in {files:,} files and {size:,} lines.",
        "What was false at the first reading:", "",
        "| code | places | why |", "|---|---|---|",
        *[f"| {_link(one['code'])} | {'<br>'.join(one['places'])} | {one['reason']} |" for one in false], "",
        "What was true, place by place:", "",
        "| repository | place | code | reason |", "|---|---|---|---|",
        *[f"| {one['repository']} | {one['path']} | {_link(one['code'])} | {one['reason']} |" for one in single], "",
        "Messages that say no more than the line shows have one verdict for all places:", "",
        "| code | reason |", "|---|---|",
        *[f"| {_link(one['code'])} | {one['reason']} |" for one in whole],
        "", "| repository | commit |", "|---|---|",
    ]  # fmt: skip
    return [*lines, *[f"| {one['name']} | `{one['commit'][:12]}` |" for one in data["repository"]]]


def _link(code: str) -> str:
    return f"[{code}](rules/{code}.md)"
