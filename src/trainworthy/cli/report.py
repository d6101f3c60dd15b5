"""Render a saved tape again, without running anything; or compare the tapes of several ranks.

$ trainworthy rehearse --tape run.twt train.py
$ trainworthy report run.twt --format html --output report.html
$ trainworthy report run.rank0.twt run.rank1.twt
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainworthy.cli.options import add_output_options, emit
from trainworthy.cli.rendering import add_file_options, render, write_files
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.tape.record import Tape


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Load, summarise, render; the exit code is that of the rehearsal."""
    parser.add_argument("tape_files", metavar="TAPE", nargs="+", help="a tape, or those of several ranks of a cluster")
    parser.add_argument("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")
    add_output_options(parser)
    add_file_options(parser)
    options = parser.parse_args(words)
    from trainworthy.inspect import summarize_ranks

    results = [summarize_ranks([_load(path) for path in options.tape_files])]
    write_files(results, options)
    emit(render(results, options.format), options.output)
    return 0 if results[0].verdict == "fits" or options.exit_zero else 1


def _load(path: str) -> Tape:
    from trainworthy._api.record import load_tape

    try:
        return load_tape(path)
    except OSError as error:
        raise UsageError(f"{path!r} cannot be read: {error.strerror}.") from error
