"""The table of the catalogue of mistakes: which row is found by what, from the stored result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "catalogue.json"
RETOLD = RESULT.with_name("retold.json")


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
        *_told_again(json.loads(RETOLD.read_text(encoding="utf-8"))),
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


def _told_again(data: dict[str, Any]) -> list[str]:
    """Say how many of the other forms are found."""
    lines = [
        "## Told again", "",
        "The same rows in two or three other forms, behind other spellings, settings, helper functions and classes,",
        "in programs of 40 to 120 lines that are right otherwise. They were written from the catalogue alone, without",
        "sight of the rules; rules were widened for them since. They are in `tests/cases/retold`;",
        "`python -m benchmarks.retold` measures, at the depth that the row names. Alarms are errors and",
        "warnings in the right versions.", "",
        "| depth | programs | named on a marked line | named elsewhere | missed | not run | at first look | alarms |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    third, fourth, fifth = data["third"], data["fourth"], data["fifth"]
    for depth, counts in data["summary"].items():
        cells = [counts.get(one, 0) for one in ("found", "elsewhere", "missed", "failed")]
        first = data["first_look"].get(depth, "")
        lines.append(f"| {depth} | {sum(cells)} | {' | '.join(map(str, cells))} | {first} | {counts['alarms']} |")
    lines += [
        "",
        f"Of these, {third['programs']} are a third telling, written when rules had been widened for the first two. At",
        f"first look {third['named']} of them were named on a marked line, and {third['elsewhere']} elsewhere: forms",
        "that no rule was shown are found as seldom as before.",
        "",
        f"Another {fourth['programs']}, of rows without a third, were told a fourth time while rules learnt to look at",
        "what is computed rather than how it is written, without sight of them:",
        f"{fourth['before']['named']} were named on a line before that, and {fourth['before']['elsewhere']} elsewhere;"
        f" {fourth['named']} and",
        f"{fourth['elsewhere']} after it.",
        "",
        f"And {fifth['programs']} of rehearsals and real steps were told a fifth time, when findings had learnt to",
        "name the line where things come about (docs/guard.md), for which the marks of the others had been looked at:",
        f"{fifth['named']} were named on a marked line at first look, and {fifth['elsewhere']} elsewhere, as many",
        "as with the rules before that. Half of what is told in a new way is not seen.",
    ]
    return [*lines, "", "## Rows", ""]
