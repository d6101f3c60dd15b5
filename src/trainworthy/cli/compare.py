"""Compare two results of `rehearse --format json` and fail on a regression.

$ trainworthy compare before.json after.json --max-regression-pct 5
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainworthy.cli.options import add_output_options, emit, read_file
from trainworthy.errors import UsageError
from trainworthy.units import UNKNOWN, format_bytes

if TYPE_CHECKING:
    from trainworthy.inspect import Comparison


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Compare and return 1 if something got worse by more than the limit."""
    parser.add_argument("before", metavar="A.json")
    parser.add_argument("after", metavar="B.json")
    parser.add_argument("--max-regression-pct", type=float, default=5.0, metavar="PCT",
        help="how much worse an amount may get (default: 5)")  # fmt: skip
    parser.add_argument("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")
    add_output_options(parser, ("text", "json"))
    options = parser.parse_args(words)
    from trainworthy.inspect import compare_results

    comparison = compare_results(
        _load(options.before), _load(options.after), max_regression_pct=options.max_regression_pct
    )
    emit(_json(comparison) if options.format == "json" else _text(comparison), options.output)
    return 1 if comparison.regressions and not options.exit_zero else 0


def _text(comparison: Comparison) -> str:
    lines = [("", "before", "after", "change", "")]
    for change in comparison.changes:
        percent = UNKNOWN if change.change_pct is None else f"{change.change_pct:+.2f} %"
        if isinstance(change.before, str):
            percent = "" if change.before == change.after else "changed"
        mark = "REGRESSION" if change.is_regression else ""
        lines.append((change.name, _cell(change.name, change.before), _cell(change.name, change.after), percent, mark))
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    table = [
        f"{line[0]:<{widths[0]}}  {line[1]:>{widths[1]}}  {line[2]:>{widths[2]}}  {line[3]:>{widths[3]}}  {line[4]}"
        for line in lines
    ]
    number, limit = len(comparison.regressions), comparison.max_regression_pct
    table.append(f"{number} of {len(comparison.changes)} got worse by more than {limit:g} %.")
    return "\n".join(line.rstrip() for line in table)


def _cell(name: str, value: int | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or UNKNOWN
    return format_bytes(value) if name.endswith("_bytes") or "bytes_per" in name else f"{value:,}"


def _json(comparison: Comparison) -> str:
    return json.dumps(
        {
            "max_regression_pct": comparison.max_regression_pct,
            "regressions": [change.name for change in comparison.regressions],
            "changes": [dataclasses.asdict(change) for change in comparison.changes],
        },
        indent=2,
    )


def _load(path: str) -> dict[str, Any]:
    try:
        loaded = json.loads(read_file(path))
    except ValueError as error:
        raise UsageError(f"{path!r} is not JSON: {error}.", fix="Write it with rehearse --format json.") from error
    if isinstance(loaded, list) and len(loaded) == 1:
        loaded = loaded[0]
    if not isinstance(loaded, dict):
        raise UsageError(f"{path!r} does not hold one result.", fix="Compare results of one GPU each.")
    return loaded
