"""The report as one page: offline, without scripts, readable with styles blocked.

Every drawing has its numbers in a table below it. Whatever comes from a script (names, paths, messages) is escaped, and
a content security policy forbids the page to load or run anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from trainworthy.inspect.advice import advise, gpu_label, kind_label
from trainworthy.inspect.result import RehearsalResult
from trainworthy.report import sections
from trainworthy.report.cluster_lines import PIPELINE_NOTE, pipeline_title, ring_notes, ring_title, rings
from trainworthy.report.cluster_svg import pipeline_svg, ring_svg
from trainworthy.report.cluster_tables import cluster_tables, pipeline_table, ring_table
from trainworthy.report.spark import buckets
from trainworthy.report.style import STYLE
from trainworthy.report.tables import Table, clean, clean_lines, left, right, rows_of
from trainworthy.report.timeline_svg import KIND_COLOURS, legend_kinds, timeline_svg
from trainworthy.report.treemap_svg import treemap_svg
from trainworthy.units import format_bytes, format_flops

_MAX_ROWS = 1500  # of one table; keeps the page small for models with thousands of layers
_TIMELINE_ROWS = 40


def render_html(results: Sequence[RehearsalResult]) -> str:
    """Render results, one for each GPU, as one self-contained page."""
    first = results[0]
    title = f"{clean(first.script or 'rehearsal')} on {', '.join(_device(r) for r in results)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        *(_answer(result, titled=len(results) > 1) for result in results),
        table_html(sections.gpu_table(results)) if len(results) > 1 else "",
        *_failure(first),
        *_findings(first),
        *_sections(first, results),
        "<footer><p>Written by trainworthy. Memory and FLOPs are modelled, not measured; one multiply-add is 2 FLOPs; "
        "1 GiB is 2<sup>30</sup> bytes.</p></footer>",
    ]
    return page_html(title, body)


def page_html(title: str, body: Sequence[str]) -> str:
    """Put the parts of a page into one; it may load and run nothing."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _device(result: RehearsalResult) -> str:
    number = f"{result.cluster.world_size:,} " if result.cluster is not None else ""
    return f"{number}{clean(gpu_label(result))}"


# --- the answer ---------------------------------------------------------------------------------------------------


def _answer(result: RehearsalResult, *, titled: bool) -> str:
    advice = advise(result)
    kind = "good" if result.verdict == "fits" else "bad"
    why = "".join(f"<li>{escape(clean(text))}</li>" for text in advice.why)
    todo = "".join(f"<li>{escape(clean(text))}</li>" for text in advice.next)
    numbers = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _numbers(result))
    head = f"<h2>{escape(clean(gpu_label(result)))}</h2>" if titled else ""
    return (
        f'<section class="answer">{head}<p class="verdict {kind}"><strong>{escape(clean(advice.verdict))}</strong></p>'
        f'<dl class="numbers">{numbers}</dl><h3>Why</h3><ul>{why}</ul><h3>Next</h3><ul>{todo}</ul></section>'
    )


def _numbers(result: RehearsalResult) -> list[tuple[str, str]]:
    return [
        ("peak allocated", format_bytes(result.peak_memory_bytes)),
        ("needed on the card", format_bytes(result.needed_memory_bytes)),
        ("FLOPs per step", format_flops(result.flops_per_step)),
    ]


def _failure(result: RehearsalResult) -> Iterator[str]:
    error = result.error
    if error is None:
        return
    lines = []
    if error.get("code"):
        lines.append(f"{error.get('line') or ''} | {clean(error['code'])}")
    lines += [f"    {clean(tensor)}" for tensor in error.get("tensors") or ()]
    if lines:
        yield f"<h2>Where it failed</h2><pre>{escape(chr(10).join(lines))}</pre>"
    if result.log_tail:
        yield f"<h2>End of the script's output</h2><pre>{escape(clean_lines(result.log_tail))}</pre>"


def _findings(result: RehearsalResult) -> Iterator[str]:
    table = sections.finding_table(result)
    if table is not None:
        yield table_html(table)


# --- charts and tables --------------------------------------------------------------------------------------------


def _sections(first: RehearsalResult, results: Sequence[RehearsalResult]) -> Iterator[str]:
    if len(results) > 1:
        yield f"<h2>Details for {escape(clean(gpu_label(first)))}</h2>"
    yield from _cluster(first)
    yield from _memory(first)
    yield from _modules(first)
    for table in sections.all_tables(first):
        if table.key not in ("modules", "memory"):
            yield table_html(table)


def _cluster(result: RehearsalResult) -> Iterator[str]:
    yield from (table_html(table) for table in cluster_tables(result))
    cluster = result.cluster
    if cluster is None:
        return
    if cluster.pipeline is not None:
        yield _figure(pipeline_title(cluster.pipeline), pipeline_svg(cluster.pipeline), PIPELINE_NOTE)
        yield f"<details><summary>The same as a table</summary>{table_html(pipeline_table(cluster.pipeline))}</details>"
    for group, kinds in rings(cluster):
        chart = ring_svg(group, kinds, gpus_per_node=cluster.gpus_per_node)
        note = "Cells: the chunk that a rank sends to the next in each step. " + " ".join(ring_notes(group, kinds))
        yield _figure(ring_title(group, kinds), chart, note)
        yield f"<details><summary>The same as a table</summary>{table_html(ring_table(group, kinds))}</details>"


def _figure(title: str, chart: str, note: str) -> str:
    return f"<h2>{escape(title)}</h2><figure>{chart}<figcaption>{escape(note)}</figcaption></figure>"


def _memory(result: RehearsalResult) -> Iterator[str]:
    chart = timeline_svg(result)
    if chart:
        items = "".join(
            f'<li><svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" '
            f'fill="{KIND_COLOURS[kind]}"/></svg> {kind_label(kind)}</li>'
            for kind in legend_kinds()
            if any(p.by_kind_bytes.get(kind) for p in result.timeline.points)
        )
        yield (
            f'<h2>Memory over time</h2><figure>{chart}<figcaption><ul class="legend">{items}</ul>'
            "Left to right in the order of operations, not in time. Point at a place to see operation, line and "
            "module.</figcaption></figure>"
        )
        yield f"<details><summary>The same as a table</summary>{table_html(_timeline_table(result))}</details>"
    table = sections.memory_table(result)
    if table is not None:
        yield table_html(table)


def _timeline_table(result: RehearsalResult) -> Table:
    points = buckets(list(result.timeline.points), _TIMELINE_ROWS)
    rows = [
        (p.step, p.phase, p.op, p.source, p.module or "-", format_bytes(p.total_bytes),
         ", ".join(f"{kind_label(k)} {format_bytes(b)}" for k, b in p.by_kind_bytes.items() if b))
        for p in points
    ]  # fmt: skip
    return Table(
        key="timeline", title="Highest point of each stretch", rows=rows_of(rows),
        columns=(right("step"), left("phase"), left("operation"), left("line"), left("module"), right("allocated"),
                 left("by kind")),
    )  # fmt: skip


def _modules(result: RehearsalResult) -> Iterator[str]:
    table = sections.module_table(result, max_rows=_MAX_ROWS)
    if table is None:
        return
    chart = treemap_svg(result.modules)
    if chart:
        yield (
            f"<h2>Modules by FLOPs</h2><figure>{chart}<figcaption>Area: FLOPs of one step, forward and backward. "
            "Point at a module for its numbers.</figcaption></figure>"
        )
    yield table_html(table)


def table_html(table: Table) -> str:
    """Render one table; leading spaces of a cell become an indent that survives without styles."""
    parts = [f'<table id="{escape(table.key)}"><caption>{escape(table.title)}</caption>']
    if any(column.title for column in table.columns):
        heads = "".join(
            f'<th scope="col"{_align(column.align)}>{escape(column.title)}</th>' for column in table.columns
        )
        parts.append(f"<thead><tr>{heads}</tr></thead>")
    parts.append("<tbody>")
    for number, row in enumerate(table.rows[:_MAX_ROWS]):
        stressed = ' class="total"' if number in table.emphasis else ""
        cells = "".join(
            f"<td{_align(column.align)}>{_cell(cell)}</td>" for cell, column in zip(row, table.columns, strict=True)
        )
        parts.append(f"<tr{stressed}>{cells}</tr>")
    parts.append("</tbody></table>")
    left_out = len(table.rows) - _MAX_ROWS
    if left_out > 0:
        parts.append(f'<p class="note">{left_out:,} more rows are in the JSON.</p>')
    if table.note:
        parts.append(f'<p class="note">{escape(table.note)}</p>')
    return "\n".join(parts)


def _align(align: str) -> str:
    return ' align="right" class="r"' if align == "right" else ""


def _cell(text: str) -> str:
    indent = len(text) - len(text.lstrip(" "))
    return "&nbsp;" * (2 * indent) + escape(text.lstrip(" "))
