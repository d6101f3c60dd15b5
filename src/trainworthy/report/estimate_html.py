"""An estimate as one page: offline, without scripts, readable with styles blocked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from trainworthy.estimate.result import BOUNDS, Estimate
from trainworthy.report.estimate_tables import all_estimate_tables, machine_table
from trainworthy.report.estimate_words import advise_estimate, between, gpu_words
from trainworthy.report.html import page_html, table_html
from trainworthy.report.roofline_svg import BOUND_COLOURS, roofline_svg
from trainworthy.report.tables import Table, clean, left, right, rows_of
from trainworthy.units import UNKNOWN

__all__ = ["bounds_svg", "render_estimate_html"]

_POINT_ROWS = 60
_MAX_ROWS = 60
_BAR_WIDTH, _BAR_HEIGHT = 960, 46


def render_estimate_html(estimates: Sequence[Estimate]) -> str:
    """Render estimates, one for each machine, as one self-contained page."""
    first = estimates[0]
    title = f"{clean(first.script or 'estimate')} on {', '.join(clean(gpu_words(e)) for e in estimates)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        *(_answer(each, titled=len(estimates) > 1) for each in estimates),
        table_html(machine_table(estimates)) if len(estimates) > 1 else "",
        *_charts(first),
        "<footer><p>Written by trainworthy. Times, memory and energy are modelled, not measured; one multiply-add is "
        "2 FLOPs; 1 GiB is 2<sup>30</sup> bytes.</p></footer>",
    ]
    return page_html(title, body)


def _answer(estimate: Estimate, *, titled: bool) -> str:
    advice = advise_estimate(estimate)
    kind = "good" if advice.is_good else "bad" if estimate.fits == "no" or estimate.error else "unsure"
    why = "".join(f"<li>{escape(clean(text))}</li>" for text in advice.why)
    todo = "".join(f"<li>{escape(clean(text))}</li>" for text in advice.next)
    numbers = "".join(
        f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class="range">{escape(extent)}</dd></div>'
        for name, value, extent in _numbers(estimate)
    )
    head = f"<h2>{escape(clean(gpu_words(estimate)))}</h2>" if titled else ""
    return (
        f'<section class="answer">{head}<p class="verdict {kind}"><strong>{escape(clean(advice.verdict))}</strong></p>'
        f'<dl class="numbers">{numbers}</dl><h3>Why</h3><ul>{why}</ul><h3>Next</h3><ul>{todo}</ul></section>'
    )


def _numbers(e: Estimate) -> list[tuple[str, str, str]]:
    rate, unit = (e.tokens_per_s, "tokens/s") if e.tokens_per_s is not None else (e.samples_per_s, "samples/s")
    chosen = [("step", e.step_time_s, "s"), (unit.replace("/s", " a second"), rate, unit),
              ("MFU", e.mfu, "%"), ("needed on the card", e.needed_memory_bytes, "B")]  # fmt: skip
    out = []
    for name, quantity, each in chosen:
        if quantity is None:
            out.append((name, UNKNOWN, ""))
            continue
        extent, _, expected = between(quantity, each).partition(" (")
        out.append((name, expected.rstrip(")") or extent, extent if expected else ""))
    return out


def _charts(e: Estimate) -> Iterator[str]:
    tables = {table.key: table for table in all_estimate_tables(e, max_rows=_MAX_ROWS)}
    bar = bounds_svg(e)
    if bar:
        yield f"<h2>What bounds the step</h2><figure>{bar}</figure>"
        yield _folded("The same as a table", tables.pop("bounds"))
    for key in ("what-ifs", "figures", "phases"):
        if key in tables:
            yield table_html(tables.pop(key))
    chart = roofline_svg(e)
    if chart:
        yield (
            f"<h2>Roofline</h2><figure>{chart}<figcaption>{_legend(BOUND_COLOURS, _point_bounds(e))}"
            "Every point stands for operations that are alike; its area is their time. Point at one for its line and "
            "module. Elementwise arithmetic counts as FLOPs here. Roofs are the stated dense peaks; a point above the "
            "slope was served from the cache.</figcaption></figure>"
        )
        yield _folded("The same as a table", _point_table(e))
    for table in tables.values():
        yield table_html(table)


def _folded(summary: str, table: Table) -> str:
    return f"<details><summary>{escape(summary)}</summary>{table_html(table)}</details>"


def _point_bounds(e: Estimate) -> list[str]:
    return [bound for bound in BOUNDS if any(point.bound == bound for point in e.points)]


def _legend(colours: dict[str, str], names: Sequence[str]) -> str:
    items = "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" fill="{colours[name]}"/>'
        "</svg> "
        f"{escape(name)}</li>"
        for name in names
    )
    return f'<ul class="legend">{items}</ul>'


def bounds_svg(e: Estimate) -> str:
    """Draw the shares of what bounds the step as one bar."""
    if e.bound_by is None:
        return ""
    parts = [
        f'<svg viewBox="0 0 {_BAR_WIDTH} {_BAR_HEIGHT}" width="100%" role="img" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="currentColor">',
        "<title>Shares of the step's time by what bounds it</title>",
    ]
    x = 0.0
    for name in BOUNDS:
        share = e.bound_by.share(name)
        width = share * _BAR_WIDTH
        if width < 0.5:
            continue
        label = f"{name} {100 * share:.0f} %"
        shown = f'<text x="{x + 6:.1f}" y="28">{label}</text>' if width > 8 * len(label) else ""
        parts.append(
            f'<g><title>{name} {100 * share:.1f} %</title><rect x="{x:.1f}" y="4" width="{max(width - 1, 0.5):.1f}" '
            f'height="38" fill="{BOUND_COLOURS[name]}" fill-opacity="0.5" stroke="{BOUND_COLOURS[name]}"/>{shown}</g>'
        )
        x += width
    return "\n".join([*parts, "</svg>"])


def _point_table(e: Estimate) -> Table:
    rows = [
        (p.name, p.module.replace("{}", "*") or "-", f"{p.path}:{p.line}", f"{p.count:,}", f"{p.seconds * 1e3:.3f} ms",
         f"{100 * p.share:.1f} %", f"{p.flops_per_byte:.3g}", f"{p.tflops:.3g}", p.bound)
        for p in e.points[:_POINT_ROWS]
    ]  # fmt: skip
    rest = len(e.points) - _POINT_ROWS
    return Table(
        key="points", title="Operations by time", rows=rows_of(rows),
        columns=(left("operation"), left("module"), left("line"), right("calls"), right("time"), right("share"),
                 right("FLOP/B"), right("TFLOP/s"), left("bound")),
        note=f"{rest:,} more are in the JSON." if rest > 0 else "",
    )  # fmt: skip
