"""What notebooks show of a tape and of a result: fragments of HTML that take the colours of the page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainworthy.inspect.advice import advise, gpu_label
from trainworthy.inspect.summary import summarize
from trainworthy.report import sections
from trainworthy.report.html import table_html
from trainworthy.report.tables import clean
from trainworthy.report.timeline_svg import timeline_svg
from trainworthy.units import format_bytes, format_flops

if TYPE_CHECKING:
    from trainworthy.inspect.result import RehearsalResult
    from trainworthy.tape.record import Tape

_MAX_MODULE_ROWS = 60


def result_html(result: RehearsalResult) -> str:
    """Render verdict, memory over time and modules."""
    advice = advise(result)
    lines = "".join(f"<li>{escape(clean(text))}</li>" for text in (*advice.why, *advice.next))
    head = f"<p><strong>{escape(clean(advice.verdict))}</strong> ({escape(clean(gpu_label(result)))})</p>"
    return f"<div>{head}<ul>{lines}</ul>{_details(result)}</div>"


def tape_html(tape: Tape) -> str:
    """Render what a recording holds; there is no verdict without a GPU to fit on."""
    result = summarize(tape)
    parts = [f"{tape.num_ops:,} operations", f"peak {format_bytes(result.peak_memory_bytes)} on {tape.device}"]
    if result.flops_per_step is not None:
        parts.append(f"{format_flops(result.flops_per_step)} per step")
    return f"<div><p><strong>Tape</strong> {escape(clean(', '.join(parts)))}</p>{_details(result)}</div>"


def _details(result: RehearsalResult) -> str:
    chart = timeline_svg(result)
    tables = (sections.memory_table(result), sections.module_table(result, max_rows=_MAX_MODULE_ROWS))
    return chart + "".join(
        f"<details><summary>{escape(table.title)}</summary>{table_html(table)}</details>" for table in tables if table
    )
