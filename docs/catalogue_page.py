"""The table of the catalogue of mistakes: which row is found by what, from the stored result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "catalogue.json"


def catalogue_page() -> dict[Path, str]:
    """Build the page."""
    data: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    first = data["first_try"]
    lines = [
        "# The catalogue of mistakes", "",
        f"Known mistakes of training scripts, {data['of']} rows that one run can show. `check` finds "
        f"{data['found']} of",
        f"them ({data['found'] / data['of']:.0%}): at the depth that the row names, on the marked line of a "
        f"program that",
        f"was written for the row, with all rules on. {len(data['verify'])} more rows need two runs to "
        f"compare and wait",
        f"for `verify`; {len(data['no_mistake'])} rows say that something is right, and nothing is reported for them.",
        "",
        f"The programs were written before the rules were made to find them: {first['found']} of the first",
        f"{first['programs']} were found then. They are in `tests/cases/catalogue`; `python -m benchmarks.catalogue`",
        "measures.", "",
        *_how(data),
        "| row | kind | depth | found by |", "|---|---|---|---|",
    ]  # fmt: skip
    for one in data["rows"]:
        codes = ", ".join("an error" if c == "raises" else f"[{c}](rules/{c}.md)" for c in one["found"])
        lines.append(f"| {one['row']} | {one['family']} | {one['depth']} | {codes or 'not found'} |")
    lines += ["", "## Not found", "", "| row | reason |", "|---|---|"]
    lines += [f"| {row} | {reason} |" for row, reason in data["not_found"].items()]
    return {DOCS / "catalogue.md": "\n".join(lines) + "\n"}


def _how(data: dict[str, Any]) -> list[str]:
    """Say which programs pretend, and which were written anew."""
    lines = [f"{row} is found by declared simulation: {how}." for row, how in data["simulated"].items()]
    lines += ["", "These programs were written anew after the first try:", ""]
    return [*lines, *(f"- {row} {how}" for row, how in data["rewritten"].items()), ""]
