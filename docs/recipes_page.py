"""The page of included recipes and its curves, from ``benchmarks/results/recipes.json``; nothing here trains."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from trainworthy.report.train_report import RunFacts, run_curves
from trainworthy.train.find_recipe import recipe_summaries

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
RESULT = ROOT / "benchmarks" / "results" / "recipes.json"

_HEAD = """# Included recipes

`trainworthy train NAME` trains one; `trainworthy train NAME --dry-run` checks, rehearses and estimates it first. Each
is one file in `src/trainworthy/recipes/`, short enough to be copied and changed: see
[your first recipe](first-recipe.md). Data either ships with a dependency or is made by a generator in
`src/trainworthy/parts/sources/`, so nothing is downloaded.

Measured by `python -m benchmarks.recipes` with the settings that each recipe has by itself, on the CPU with one thread
({machine}, torch {torch}). Seconds are of the processor, the start of Python included. A recipe states its quality, and
the command leaves with 1 if it is not met. Each also rehearses on 1 and on 64 virtual GPUs.

| recipe | what it teaches | stated | measured | steps | CPU seconds |
|---|---|---|---|---|---|
"""


def page() -> dict[Path, str]:
    """Build the page and a drawing for each recipe."""
    if not RESULT.exists():
        return {}
    stored: dict[str, Any] = json.loads(RESULT.read_text())
    rows: dict[str, Any] = stored["recipes"]
    summaries = recipe_summaries()
    text = _HEAD.format(machine=stored["machine"]["cpu"], torch=stored["versions"]["torch"])
    pages: dict[Path, str] = {}
    sections = []
    for name, row in rows.items():
        text += f"| [`{name}`](#{name}) | {summaries[name]} | {_stated(row)} | {_measured(row)} |"
        text += f" {row['step']:,} | {row['cpu_s']:.0f} |\n"
        drawings = _drawings(name, row)
        pages |= drawings
        sections.append(_section(name, row, list(drawings)))
    return {DOCS / "recipes.md": text + "\n" + "\n".join(sections), **pages}


def _stated(row: dict[str, Any]) -> str:
    quality = row["quality"]
    bounds = [f"{sign} {quality[key]:.4g}" for key, sign in (("at_least", "≥"), ("at_most", "≤"))
              if quality[key] is not None]  # fmt: skip
    return f"{quality['metric']} {' and '.join(bounds)}"


def _measured(row: dict[str, Any]) -> str:
    found = {**row["metrics"], **row["results"]}[row["quality"]["metric"]]
    return f"{found:.4g}{'' if row['quality']['met'] else ' (not met)'}"


def _section(name: str, row: dict[str, Any], drawings: list[Path]) -> str:
    source = (ROOT / "src/trainworthy/recipes" / f"{name}.py").read_text()
    about = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[2]
    own = {key: value for key, value in row["settings"].items() if not key.startswith("train.")}
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in {**row["metrics"], **row["results"]}.items())
    ranks = ", ".join(f"{each['ranks']}: {each['verdict']}" for each in row.get("rehearsals", ()))
    lines = [
        f"## {name}", "", about, "",
        "Settings: " + ", ".join(f"`{key}={_value(value)}`" for key, value in own.items()) + ".", "",
        f"At the end: {numbers}.{f' Rehearsed on virtual GPUs, {ranks}.' if ranks else ''}", "",
        *(f"![{path.stem}](recipes/{path.name})" for path in drawings), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def _drawings(name: str, row: dict[str, Any]) -> dict[Path, str]:
    quality = row["quality"]
    facts = RunFacts(
        recipe=name, folder=None, step=row["step"], epoch=row["epoch"], stopped_by="end", seconds=row["seconds"],
        quality=(quality["metric"], quality["at_least"], quality["at_most"]),
    )  # fmt: skip
    found = run_curves(facts, row["curves"])
    wanted = [svg for svg in found if "<title>loss<" in svg or f"<title>{quality['metric']}<" in svg]
    paths = [DOCS / "recipes" / (f"{name}.svg" if at == 0 else f"{name}-{at + 1}.svg") for at in range(len(wanted))]
    return {path: f"{svg}\n" for path, svg in zip(paths, wanted, strict=True)}
