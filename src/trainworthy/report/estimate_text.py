"""An estimate in a terminal, and plain lines when piped."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainworthy.estimate.result import Estimate
from trainworthy.report.estimate_tables import all_estimate_tables, machine_table
from trainworthy.report.estimate_words import EstimateAdvice, advise_estimate, gpu_words
from trainworthy.report.tables import clean
from trainworthy.report.text import make_console, plain_table, print_table

if TYPE_CHECKING:
    from rich.console import Console

_HEAD = 9  # width of "VERDICT  "


def render_estimate_text(estimates: Sequence[Estimate], *, width: int | None = None, color: bool | None = None) -> str:
    """Render estimates, one for each machine.

    Args:
        estimates: At least one; the details of the first are shown.
        width: Columns of the terminal; 0 means plain lines of any width. Default: what standard output is.
        color: Whether to use colour. Default: on a terminal, unless NO_COLOR is set.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if not width:
        return "\n".join(_plain(estimates)) + "\n"
    if color is None:
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    out = io.StringIO()
    console = make_console(out, width, color)
    if len(estimates) > 1:
        print_table(machine_table(estimates), console, width)
    for each in estimates:
        _print_advice(each, console, width, titled=len(estimates) > 1)
    for table in all_estimate_tables(estimates[0]):
        print_table(table, console, width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _print_advice(estimate: Estimate, console: Console, width: int, *, titled: bool) -> None:
    from rich.text import Text

    advice = advise_estimate(estimate)
    if titled:
        console.print(f"\n{clean(gpu_words(estimate))}", style="bold")
    style = "bold green" if advice.is_good else "bold red" if estimate.fits == "no" else "bold yellow"
    for name, lines in _parts(advice):
        for at, line in enumerate(lines):
            head = name if at == 0 else ""
            body = textwrap.wrap(line, width=max(width - _HEAD, 20), break_on_hyphens=False, break_long_words=False)
            for nth, part in enumerate(body or [""]):
                text = Text(f"{head if nth == 0 else '':<{_HEAD}}", style="bold")
                text.append(part, style=style if name == "VERDICT" else "not bold")
                console.print(text, soft_wrap=True)


def _parts(advice: EstimateAdvice) -> Iterator[tuple[str, list[str]]]:
    yield "VERDICT", [clean(advice.verdict)]
    yield "WHY", [clean(line) for line in advice.why]
    yield "NEXT", [clean(line) for line in advice.next]


def _plain(estimates: Sequence[Estimate]) -> Iterator[str]:
    if len(estimates) > 1:
        yield from plain_table(machine_table(estimates))
    for each in estimates:
        if len(estimates) > 1:
            yield from ("", clean(gpu_words(each)))
        for name, lines in _parts(advise_estimate(each)):
            for at, line in enumerate(lines):
                yield f"{name if at == 0 else '':<{_HEAD}}{line}".rstrip()
    for table in all_estimate_tables(estimates[0]):
        yield from plain_table(table)
