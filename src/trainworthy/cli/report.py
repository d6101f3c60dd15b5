"""Render a saved tape again, without running anything.

$ trainworthy rehearse --tape run.twt train.py
$ trainworthy report run.twt --format html --output report.html
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trainworthy.cli.options import add_output_options, emit
from trainworthy.cli.rendering import add_file_options, render, write_files
from trainworthy.errors import UsageError


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Load, summarise, render; the exit code is that of the rehearsal."""
    parser.add_argument("tape_file", metavar="TAPE")
    parser.add_argument("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")
    add_output_options(parser)
    add_file_options(parser)
    options = parser.parse_args(words)
    from trainworthy._api.record import load_tape
    from trainworthy.inspect import summarize

    try:
        tape = load_tape(options.tape_file)
    except OSError as error:
        raise UsageError(f"{options.tape_file!r} cannot be read: {error.strerror}.") from error
    results = [summarize(tape)]
    write_files(results, options)
    emit(render(results, options.format), options.output)
    return 0 if results[0].verdict == "fits" or options.exit_zero else 1
