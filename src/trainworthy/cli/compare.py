"""Compare two results of `rehearse --format json` and fail on a regression.

$ trainworthy compare before.json after.json --max-regression-pct 5
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from trainworthy.cli.options import add_output_options, emit, read_file
from trainworthy.errors import UsageError


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Compare and return 1 if something got worse by more than the limit."""
    parser.add_argument("before", metavar="A.json")
    parser.add_argument("after", metavar="B.json")
    parser.add_argument("--max-regression-pct", type=float, default=5.0, metavar="PCT",
        help="how much worse an amount may get (default: 5)")  # fmt: skip
    parser.add_argument("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")
    add_output_options(parser, ("text", "json"))
    options = parser.parse_args(words)
    from trainworthy import report
    from trainworthy.inspect import compare_results

    comparison = compare_results(
        _load(options.before), _load(options.after), max_regression_pct=options.max_regression_pct
    )
    render = report.render_comparison_json if options.format == "json" else report.render_comparison
    emit(render(comparison), options.output)
    return 1 if comparison.regressions and not options.exit_zero else 0


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
