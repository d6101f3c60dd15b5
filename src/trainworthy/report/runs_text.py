"""Predictions for a table of runs as text: how many rows, what was required and assumed, and the error by source."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from trainworthy.estimate.run_config import LAYOUT_COLUMNS, MODEL_COLUMNS
from trainworthy.estimate.runs_table import RunPrediction, RunsTable, SourceError, weighted_median_error
from trainworthy.report.tables import clean

_MOST_REASONS = 8
_TITLES = {
    "stated": "Step time, rows with all required columns",
    "assumed": "Step time, rows where a required column was assumed or known by the model's name",
}


def render_runs(table: RunsTable, *, width: int = 80) -> str:
    """Return the summary that ``trainworthy estimate --runs`` prints."""
    lines = [*_counts(table, width)]
    for group in ("stated", "assumed"):
        rows, errors = table.rows(group), table.errors(group)
        if errors:
            lines += ["", _TITLES[group], *_error_table(errors, weighted_median_error(rows), width)]
    lines += _memory(table, width)
    lines += _fits(table)
    return "\n".join(lines) + "\n"


def _counts(table: RunsTable, width: int) -> Iterator[str]:
    total, stated, assumed = len(table.predictions), len(table.rows("stated")), len(table.rows("assumed"))
    yield f"{total} rows: {stated} predicted from their columns, {assumed} with an assumption, " + (
        f"{total - stated - assumed} not."
    )
    yield from _wrapped(
        f"Required columns: {', '.join((*MODEL_COLUMNS, *LAYOUT_COLUMNS))}. Measured columns are not read.", width
    )
    yield from _wrapped(
        "What else a row leaves out is taken from the habits of its software, and noted in the row.", width
    )
    reasons = Counter(row.note.removeprefix("no prediction: ") for row in table.rows(None))
    if reasons:
        yield ""
        yield "No prediction"
    for reason, count in reasons.most_common(_MOST_REASONS):
        yield _cut(f"{count:>6}  {clean(reason)}", width)
    if len(reasons) > _MOST_REASONS:
        yield f"        and {len(reasons) - _MOST_REASONS} more reasons; each row has its own in prediction_note"


def _error_table(errors: Sequence[SourceError], weighted: float | None, width: int) -> Iterator[str]:
    name_width = max(16, min(width - 42, max(len(each.source) for each in errors)))
    yield f"{'source':{name_width}}  {'rows':>5} {'median':>7} {'9 in 10':>8} {'in 20 %':>8} {'bias':>7}"
    for each in errors:
        yield (
            f"{_cut(clean(each.source), name_width):{name_width}}  {each.rows:>5} {_percent(each.median):>7} "
            f"{_percent(each.p90):>8} {_percent(each.within_20, 0):>8} {_signed(each.bias):>7}"
        )
    rows, name = sum(each.rows for each in errors), "all, sources weighted equally"
    within = statistics.mean(each.within_20 or 0.0 for each in errors)
    yield (f"{_cut(name, name_width):{name_width}}  {rows:>5} {_percent(weighted):>7} {'':>8} {_percent(within, 0):>8}")


def _memory(table: RunsTable, width: int) -> Iterator[str]:
    errors: dict[str, list[float]] = {}
    for row in table.predictions:
        if row.peak_memory_gb and row.measured_memory_gb:
            errors.setdefault(row.source, []).append(abs(row.peak_memory_gb / row.measured_memory_gb - 1))
    if not errors:
        return
    name_width = max(16, min(width - 26, max(len(name) for name in errors)))
    yield ""
    yield "Peak memory, each row in the kind and unit that it names"
    yield f"{'source':{name_width}}  {'rows':>5} {'median':>7} {'9 in 10':>8}"
    for name, found in sorted(errors.items(), key=lambda each: -len(each[1])):
        ordered = sorted(found)
        high = ordered[int(0.9 * (len(ordered) - 1) + 0.5)]
        yield (
            f"{_cut(clean(name), name_width):{name_width}}  {len(found):>5} {_percent(statistics.median(found)):>7} "
            f"{_percent(high):>8}"
        )


def _fits(table: RunsTable) -> Iterator[str]:
    known: Iterable[RunPrediction] = [row for row in table.predictions if row.fits and row.measured_fits]
    found = Counter((row.measured_fits, row.fits) for row in known)
    if not found:
        return
    yield ""
    yield f"{'Fits in memory':24}{'yes':>8}{'no':>8}{'unsure':>8}   predicted"
    for measured, words in (("yes", "it ran"), ("no", "out of memory")):
        yield f"{words:24}" + "".join(f"{found[measured, predicted]:>8}" for predicted in ("yes", "no", "unsure"))


def _percent(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{100 * value:.{digits}f} %"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.0f} %"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _wrapped(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line
