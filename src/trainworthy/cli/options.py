"""Options that mean the same in every command, and values they share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trainworthy.errors import UsageError

FORMATS = ("text", "json", "html")


def add_output_options(parser: argparse.ArgumentParser, formats: tuple[str, ...] = FORMATS) -> None:
    """Add ``--format`` and ``--output``."""
    parser.add_argument("--format", choices=formats, default="text", help="what is printed or written (default: text)")
    parser.add_argument("--output", metavar="PATH", help="write there instead of printing")


def size(text: str) -> int:
    """Read a size such as 8GiB for argparse."""
    from trainworthy.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def emit(text: str, output: str | None) -> None:
    """Print ``text``, or write it to ``output``.

    Raises:
        UsageError: If the file cannot be written.
    """
    if output is None or output == "-":
        # A terminal that cannot show a character gets a question mark, not a traceback.
        encoding = sys.stdout.encoding or "utf-8"
        shown = text.encode(encoding, errors="replace").decode(encoding)
        sys.stdout.write(shown if shown.endswith("\n") else shown + "\n")
        sys.stdout.flush()
        return
    write_file(output, text)


def write_file(path: str, content: str | bytes) -> None:
    """Write a result.

    Raises:
        UsageError: If the file cannot be written.
    """
    try:
        if isinstance(content, bytes):
            Path(path).write_bytes(content)
        else:
            Path(path).write_text(content, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror}.", where="--output") from error


def read_file(path: str) -> bytes:
    """Read a file given on the command line.

    Raises:
        UsageError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path!r} cannot be read: {error.strerror}.") from error
