"""From results to what ``--format`` and the options for further files ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trainworthy.cli.options import write_file

if TYPE_CHECKING:
    from trainworthy.inspect import RehearsalResult


def add_file_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that write further files."""
    add = parser.add_argument
    add("--html", metavar="PATH", help="also write one self-contained page")
    add("--json", metavar="PATH", help="also write the result as JSON")
    add("--trace", metavar="PATH", help="also write a trace for Perfetto or chrome://tracing")
    add("--memory-snapshot", metavar="PATH", help="also write a pickle for pytorch.org/memory_viz")
    add("--tape", metavar="PATH", help="also write the tape, for `trainworthy report`; of several ranks, PATH.rankN")


def render(results: list[RehearsalResult], form: str) -> str:
    """Render as text, json or html."""
    from trainworthy import report

    renderers = {"json": report.render_json, "html": report.render_html, "text": report.render_text}
    return renderers[form](results)


def write_files(results: list[RehearsalResult], options: argparse.Namespace) -> None:
    """Write what was asked for beside the report; trace, snapshot and tape are those of the first GPU.

    Of a cluster, trace and snapshot are those of the rank that is shown; every rank has a tape.
    """
    from trainworthy import report

    first = results[0]
    if options.html:
        write_file(options.html, report.render_html(results))
    if options.json:
        write_file(options.json, report.render_json(results))
    if options.trace:
        write_file(options.trace, report.render_trace(first.tape))
    if options.memory_snapshot:
        write_file(options.memory_snapshot, report.render_memory_snapshot(first.tape))
    if options.tape and len(first.rank_tapes) > 1:
        for rank, tape in first.rank_tapes.items():
            tape.save(for_rank(options.tape, rank))
    elif options.tape:
        first.tape.save(options.tape)


def for_rank(path: str, rank: int) -> str:
    """Name the file of one of several ranks.

    >>> for_rank("out/run.twt", 3)
    'out/run.rank3.twt'
    """
    whole = Path(path)
    return str(whole.with_name(f"{whole.stem}.rank{rank}{whole.suffix}"))
