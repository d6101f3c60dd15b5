"""Findings as text and in the formats that other tools read."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from trainworthy.check.finding import Finding
from trainworthy.check.run import CheckResult


def render(result: CheckResult, form: str) -> str:
    """Write in one of the formats; only its own module is loaded: concise, full, json, sarif, github, gitlab, junit."""
    module = import_module(f"{__name__}.{form}")
    return str(getattr(module, f"render_{form}")(result))


def statistics(findings: Sequence[Finding]) -> str:
    """Count by code, most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for one in findings:
        counts[one.code, one.name] = counts.get((one.code, one.name), 0) + 1
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    return "\n".join(f"{count:6}  {code}  {name}" for (code, name), count in rows)
