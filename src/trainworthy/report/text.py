"""The report in a terminal, and plain lines when piped.

On a terminal rich fits the tables to the width. Piped, every line is as wide as it has to be: nothing is cut, no frames
are drawn, so that grep and awk work on it.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainworthy.inspect.advice import Advice, advise, gpu_label
from trainworthy.inspect.result import RehearsalResult
from trainworthy.report.cluster_lines import drawing_lines
from trainworthy.report.cluster_tables import cluster_tables
from trainworthy.report.sections import all_tables, finding_table, gpu_table
from trainworthy.report.spark import spark_lines
from trainworthy.report.tables import Table, clean, clean_lines

if TYPE_CHECKING:
    from rich.console import Console

_MAX_MODULE_ROWS = 50
_MAX_LOG_LINES = 20
_HEAD = 9  # width of "VERDICT  "
_PLAIN_WIDTH = 100  # of drawings when piped


def render_text(results: Sequence[RehearsalResult], *, width: int | None = None, color: bool | None = None) -> str:
    """Render results, one for each GPU.

    Args:
        results: At least one result; the details of the first are shown.
        width: Columns of the terminal; 0 means plain lines of any width. Default: what standard output is.
        color: Whether to use colour. Default: on a terminal, unless NO_COLOR is set.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if not width:
        return "\n".join(_plain(results)) + "\n"
    if color is None:
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    out = io.StringIO()
    _print(results, make_console(out, width, color), width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def make_console(out: io.StringIO, width: int, color: bool) -> Console:
    """Make a console of a fixed width that writes into ``out``."""
    from rich.console import Console

    return Console(
        file=out, width=width, force_terminal=color, color_system="standard" if color else None, no_color=not color,
        highlight=False, emoji=False, markup=False, legacy_windows=False, _environ={},
    )  # fmt: skip


# --- a terminal ---------------------------------------------------------------------------------------------------


def _print(results: Sequence[RehearsalResult], console: Console, width: int) -> None:
    if len(results) > 1:
        print_table(gpu_table(results), console, width)
    for result in results:
        _print_advice(result, advise(result), console, width, titled=len(results) > 1)
    first = results[0]
    _print_lines([*_error_lines(first), *_log_lines(first)], console)
    _print_findings(first, console, width)
    if len(results) > 1:
        console.print(f"\nDetails for {gpu_label(first)}", style="bold")
    for table in cluster_tables(first):
        print_table(table, console, width)
    _print_lines(_wrapped(drawing_lines(first, width=width), width), console)
    for table in all_tables(first, max_module_rows=_MAX_MODULE_ROWS):
        print_table(table, console, width)
        if table.key == "memory":
            for line in spark_lines(first, width=min(width, 100)):
                console.print(line, no_wrap=True, overflow="crop")


def _print_advice(result: RehearsalResult, advice: Advice, console: Console, width: int, *, titled: bool) -> None:
    from rich.text import Text

    if titled:
        console.print(f"\n{clean(gpu_label(result))}", style="bold")
    style = "bold green" if result.verdict == "fits" else "bold red"
    for name, lines in _advice_parts(advice):
        for at, line in enumerate(lines):
            head = name if at == 0 else ""
            body = textwrap.wrap(line, width=max(width - _HEAD, 20), break_on_hyphens=False, break_long_words=False)
            for nth, part in enumerate(body or [""]):
                text = Text(f"{head if nth == 0 else '':<{_HEAD}}", style="bold")
                text.append(part, style=style if name == "VERDICT" else "not bold")
                console.print(text, soft_wrap=True)


def _advice_parts(advice: Advice) -> Iterator[tuple[str, list[str]]]:
    yield "VERDICT", [clean(advice.verdict)]
    yield "WHY", [line for text in advice.why for line in clean_lines(text).split("\n")]
    yield "NEXT", [clean(text) for text in advice.next]


def print_table(table: Table, console: Console, width: int) -> None:
    """Print a table with the columns that the width has room for."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = table.visible(width)
    # The header line is drawn only where there are headings.
    has_heads = any(table.columns[i].title for i in shown)
    rich_table = RichTable(
        box=box.SIMPLE_HEAD if has_heads else None, show_header=has_heads, show_edge=False, pad_edge=False,
        padding=(0, 1, 0, 0), header_style="bold", expand=False,
    )  # fmt: skip
    for at, i in enumerate(shown):
        column = table.columns[i]
        rich_table.add_column(
            Text(column.title), justify=column.align, overflow="fold", no_wrap=column.align == "right",
            ratio=None, min_width=6 if at == 0 and column.title else None,
        )  # fmt: skip
    for number, row in enumerate(table.rows):
        rich_table.add_row(*(Text(row[i]) for i in shown), style="bold" if number in table.emphasis else None)
    console.print()
    console.print(Text(table.title), style="bold cyan")
    console.print(rich_table)
    if table.note:
        console.print(Text(table.note), style="dim")


def _print_findings(result: RehearsalResult, console: Console, width: int) -> None:
    from rich.text import Text

    if not result.findings:
        return
    console.print()
    console.print("Findings", style="bold cyan")
    for finding in result.findings:
        where = f"{clean(finding['path'])}:{finding.get('line')}  " if finding.get("path") else ""
        severity = clean(finding.get("severity", ""))
        line = Text(f"{where}{clean(finding.get('code', ''))} ", style="bold")
        line.append(f"{severity}  ", style="red" if severity == "error" else "yellow")
        line.append(clean(finding.get("message", "")), style="not bold")
        console.print(line)
        if finding.get("fix"):
            for part in textwrap.wrap(f"fix  {clean(finding['fix'])}", width=max(width - 3, 20)):
                console.print(Text(f"   {part}"))


def _wrapped(lines: list[str], width: int) -> list[str]:
    """Break what is longer than the terminal is wide: titles and notes; drawings are made to fit."""
    out: list[str] = []
    for line in lines:
        out += [line] if len(line) <= width else textwrap.wrap(line, width=max(width, 20), break_on_hyphens=False)
    return out


def _print_lines(lines: list[str], console: Console) -> None:
    from rich.text import Text

    for line in lines:
        console.print(Text(line), soft_wrap=True)


# --- piped --------------------------------------------------------------------------------------------------------


def _plain(results: Sequence[RehearsalResult]) -> Iterator[str]:
    if len(results) > 1:
        yield from plain_table(gpu_table(results))
    for result in results:
        if len(results) > 1:
            yield from ("", clean(gpu_label(result)))
        for name, lines in _advice_parts(advise(result)):
            for at, line in enumerate(lines):
                yield f"{name if at == 0 else '':<{_HEAD}}{line}".rstrip()
    first = results[0]
    yield from (*_error_lines(first), *_log_lines(first))
    findings = finding_table(first)
    if findings:
        yield from plain_table(findings)
    for table in cluster_tables(first):
        yield from plain_table(table)
    yield from drawing_lines(first, width=_PLAIN_WIDTH)
    for table in all_tables(first):
        yield from plain_table(table)
        if table.key == "memory":
            yield from spark_lines(first, width=_PLAIN_WIDTH)


def plain_table(table: Table) -> Iterator[str]:
    """Yield a table as plain lines, as wide as they have to be."""
    heads = tuple(column.title for column in table.columns)
    rows = [heads, *table.rows] if any(heads) else list(table.rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    yield from ("", table.title)
    for row in rows:
        cells = [
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        yield "  ".join(cells).rstrip()
    if table.note:
        yield table.note


# --- both ---------------------------------------------------------------------------------------------------------


def _error_lines(result: RehearsalResult) -> list[str]:
    """Show the failing line and the tensors on it."""
    error = result.error
    if error is None:
        return []
    lines = []
    if error.get("code"):
        lines += ["", f"    {error.get('line') or ''} | {clean(error['code'])}"]
    return lines + [f"        {clean(tensor)}" for tensor in error.get("tensors") or ()]


def _log_lines(result: RehearsalResult) -> list[str]:
    """Show the end of what the script printed, if it failed."""
    if result.error is None or not result.log_tail:
        return []
    tail = clean_lines(result.log_tail).rstrip("\n").split("\n")[-_MAX_LOG_LINES:]
    return ["", "End of the script's output", *(f"  {line}" for line in tail)]
