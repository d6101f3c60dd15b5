"""The page of mistakes put into public code, from the stored result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "injected.json"


def injected_page() -> dict[Path, str]:
    """Build the page."""
    data: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    measured = {
        f"{half}{', before' * (label == 'before')}": data["measurements"][label][half]
        for half in ("test", "train")
        for label in ("before", "now")
        if half in data["measurements"].get(label, {})
    }
    lines = [
        "# Mistakes put into other people's code",
        "",
        "Which of the usual mistakes does the static check see in code whose style nobody had in mind?",
        f"{len(data['kinds'])} kinds of mistakes of the catalogue are made, by edits of one to three lines, at places",
        "drawn by hash in the projects of [ecosystem.md](ecosystem.md) that have at most 150 files, up to",
        f"{data['most']} a kind and project, and the file is checked within its project with the rules that are about",
        "the kind. A mistake is found if one of them says something that it did not say before.",
        "`python -m benchmarks.injected --root CLONES` measures.",
        "",
        "Rules were widened on the places of one half of the projects (train); those of the other half (test) were",
        "only counted. Where reading showed that a mistake has no effect, the place is listed in",
        "`benchmarks/injected.toml` and not counted. The edits say how well rules carry over to other styles. Which",
        "mistakes people make, they do not say; for that see [check.md](check.md).",
        "",
        *(f"- {name}: {_sum(counts)}" for name, counts in measured.items()),
        "",
        f"| mistake | row | rules | {' | '.join(measured)} |",
        "|---|---|---|" + "---|" * len(measured),
    ]
    for name, kind in data["kinds"].items():
        codes = ", ".join(f"[{code}](rules/{code}.md)" for code in kind["codes"])
        shown = [_of(one, name) for one in measured.values()]
        lines.append(f"| {name} | {kind['row']} | {codes} | {' | '.join(shown)} |")
    return {DOCS / "injected.md": "\n".join(lines) + "\n"}


def _of(half: dict[str, Any], kind: str) -> str:
    count = half.get(kind)
    return f"{count['found']} of {count['made']}" if count else ""


def _sum(half: dict[str, Any]) -> str:
    found, made = (sum(one[what] for one in half.values()) for what in ("found", "made"))
    return f"{found} of {made} ({found / made:.0%})"
