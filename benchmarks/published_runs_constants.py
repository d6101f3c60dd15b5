"""Writes fitted constants into ``src/trainworthy/estimate/constants``, each with its rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.published_runs_fit import Constant, Fit, Row

FOLDER = ROOT / "src" / "trainworthy" / "estimate" / "constants"
_HEARD = 0.1
"""A constant that moved less than this share of its prior's spread was not heard of: it stays what `common` says."""
_FITTED = "# Fitted by `python -m benchmarks.published_runs --write`; priors and method are in that benchmark.\n"


def write_constants(found: Fit, rows: Sequence[Row]) -> None:
    """Write common, generation and stack constants."""
    values = {
        (each.scope, each.key, each.name): (each.prior * math.exp(move), move / each.spread)
        for each, move in zip(found.constants, found.theta, strict=True)
    }
    common = FOLDER / "common" / "rates.toml"
    text = common.read_text(encoding="utf-8")
    for (scope, _, name), (value, _) in values.items():
        if scope == "common":
            text = re.sub(rf"(?m)^{name} = [\d.e+-]+", f"{name} = {_short(value)}", text)
    common.write_text(text, encoding="utf-8")
    for generation in _keys(found.constants, "generation"):
        _write_generation(generation, values, [row for row in rows if row.config.generation == generation])
    for stack in _keys(found.constants, "stack"):
        _write_stack(stack, values, [row for row in rows if row.config.stack == stack])


def _write_generation(
    generation: str, values: Mapping[tuple[str, str, str], tuple[float, float]], rows: Sequence[Row]
) -> None:
    lines = [_FITTED + f"# {_described(rows)}.\n"]
    lines += [f"{name} = {_short(value)}\n" for (_, key, name), (value, _) in values.items() if key == generation]
    path = FOLDER / "generations" / f"{generation}.toml"
    kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if "# not fitted" in line]
    path.write_text("".join([*lines, *kept]), encoding="utf-8")


def _write_stack(stack: str, values: Mapping[tuple[str, str, str], tuple[float, float]], rows: Sequence[Row]) -> None:
    path = FOLDER / f"{stack}.toml"
    head = path.read_text(encoding="utf-8").split("\n# Fitted by")[0].rstrip("\n") + "\n\n"
    lines = [_FITTED]
    own = {name: value for (scope, key, name), (value, moved) in values.items()
           if scope == "stack" and key == stack and abs(moved) >= _HEARD}  # fmt: skip
    if own:
        lines += [f"[all]  # {_described(rows)}\n", *(f"{name} = {_short(value)}\n" for name, value in own.items())]
    for generation in dict.fromkeys(row.config.generation for row in rows):
        there = [row for row in rows if row.config.generation == generation]
        value, _ = values["pair", f"{stack} {generation}", "product_factor"]
        lines += [f"\n[{generation}]  # {_described(there)}\n", f"product_factor = {_short(value)}\n"]
    path.write_text(head + "".join(lines), encoding="utf-8")


def write_errors(rows: Sequence[Row], errors: Sequence[float], left_out: Mapping[str, Sequence[float]]) -> None:
    """Write the error that nine in ten rows of a stack on a generation stay below, and that of left-out sources."""
    pairs: dict[str, list[float]] = {}
    for row, error in zip(rows, errors, strict=True):
        pairs.setdefault(f"{row.config.stack} {row.config.generation}", []).append(abs(math.expm1(error)))
    outside = sorted(abs(math.expm1(v)) for values in left_out.values() for v in values)
    lines = ["# Share within which nine in ten predictions of step time were: written by benchmarks.published_runs.\n"]
    lines.append(f"left_out = {_nine_in_ten(outside):.2f}  # sources that the constants never saw\n\n[fitted]\n")
    # A pair with few rows has not shown its tail yet: it gets at least the median of all pairs.
    usual = sorted(_nine_in_ten(sorted(values)) for values in pairs.values() if len(values) >= 10)
    floor = usual[len(usual) // 2]
    for pair, values in sorted(pairs.items()):
        error = _nine_in_ten(sorted(values))
        error = max(error, floor) if len(values) < 10 else error
        lines.append(f'"{pair}" = {min(error, 0.5):.2f}  # {len(values)} rows\n')
    (FOLDER / "common" / "errors.toml").write_text("".join(lines), encoding="utf-8")


def _nine_in_ten(ordered: Sequence[float]) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(0.9 * len(ordered)) - 1)]


def _described(rows: Sequence[Row]) -> str:
    sources = list(dict.fromkeys(row.source for row in rows))
    return f"{len(rows)} rows of {', '.join(sources)}"


def _keys(constants: Sequence[Constant], scope: str) -> list[str]:
    return list(dict.fromkeys(each.key for each in constants if each.scope == scope))


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{round(value, -1):.0f}"


def constant_files() -> list[Path]:
    """List the files that are written."""
    return sorted(FOLDER.rglob("*.toml"))
