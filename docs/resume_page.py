"""The page of stopping and going on, with tables from ``benchmarks/results/engine_*.json``; nothing here measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"

_MARK, _END = "<!-- resume-results -->", "<!-- /resume-results -->"


def page() -> dict[Path, str]:
    """Build docs/resume.md: what stands between its marks."""
    path = DOCS / "resume.md"
    head, _, rest = path.read_text(encoding="utf-8").partition(_MARK)
    _, _, tail = rest.partition(_END)
    parts = [head + _MARK]
    for name, write in (("engine_kills", _kills), ("engine_resume", _peers), ("engine_elastic", _elastic)):
        result = RESULTS / f"{name}.json"
        if result.exists():
            parts.append(write(json.loads(result.read_text(encoding="utf-8"))))
    return {path: "\n".join([*parts, _END]) + tail}


def _kills(result: dict[str, Any]) -> str:
    lines = [
        "## Measured: runs that were killed and checkpoints that were spoilt",
        "",
        f"{len(result['trials'])} runs, each disturbed once at a random moment and started again (`python -m",
        f"benchmarks.engine_kills`, {_when(result)}): in one process, in one with workers and",
        "background saves, in two with replicas, in two with shards. The disk was full by",
        f"{result['disk_full_by']}. Which checkpoint was the newest whole one was worked out without the",
        "engine's code. Equal: weights, buffers and optimizer state, bit by bit.",
        "",
        "| what happened | runs | went on from the newest whole checkpoint | had one to go on from | ended equal |",
        "|---|---|---|---|---|",
    ]
    for kind, row in result["kinds"].items():
        cells = (row["trials"], row["from_the_newest"], row["from_a_checkpoint"], row["equal"])
        lines.append(f"| {kind} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _peers(result: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in result["packages"].items() if version)
    lines = [
        "## Measured: who goes on bit-equal after `kill -9`",
        "",
        "40 steps an epoch, a checkpoint every 10, killed in step 57, continued from 50",
        f"(`python -m benchmarks.engine_resume`, {_when(result)};",
        f"{packages}).",
        "Each as its documentation shows it; whoever writes samplers and hooks of their own can get further. All are",
        "deterministic when they are not killed. **exact**: the same weights, bit by bit; order: the same samples,",
        "other weights; no: other samples. C and D differ only in the number of workers; the last column says whether",
        "they end with the same weights.",
        "",
        f"| | {' | '.join(f'{case}: {what}' for case, what in result['cases'].items())} | C = D |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in result["peers"].items():
        cells = [_verdict(rows[case]) for case in result["cases"]]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {'yes' if result['same_for_0_and_2_workers'][name] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _verdict(row: dict[str, Any]) -> str:
    return "**exact**" if row["exact"] else "order" if row["order"] else "no"


def _elastic(result: dict[str, Any]) -> str:
    lines = [
        "## Measured: a rank dies",
        "",
        f"One of {result['ranks']} ranks got SIGKILL at a random moment; nobody did anything else",
        f"(`python -m benchmarks.engine_elastic`, {_when(result)}):",
        f"**{result['passed']} of {len(result['runs'])}** runs went on by themselves after one restart and ended",
        "bit-equal, metrics included.",
    ]
    return "\n".join(lines) + "\n"


def _when(result: dict[str, Any]) -> str:
    return f"{result['date'][:10]}, torch {result['versions']['torch']}, {result['machine']['cores']} CPU cores"
