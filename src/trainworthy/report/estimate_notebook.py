"""What a notebook shows of an estimate: a fragment of HTML that takes the colours of the page."""

from __future__ import annotations

from html import escape

from trainworthy.estimate.result import Estimate
from trainworthy.report.estimate_html import bounds_svg
from trainworthy.report.estimate_tables import all_estimate_tables
from trainworthy.report.estimate_words import advise_estimate, gpu_words
from trainworthy.report.html import table_html
from trainworthy.report.roofline_svg import roofline_svg
from trainworthy.report.tables import clean

__all__ = ["estimate_html"]

_SHOWN = ("figures", "what-ifs", "phases", "modules", "lines", "assumptions")


def estimate_html(estimate: Estimate) -> str:
    """Render verdict, what bounds the step, the roofline, and tables to open."""
    advice = advise_estimate(estimate)
    lines = "".join(f"<li>{escape(clean(text))}</li>" for text in (*advice.why, *advice.next))
    head = f"<p><strong>{escape(clean(advice.verdict))}</strong> ({escape(clean(gpu_words(estimate)))})</p>"
    tables = "".join(
        f"<details><summary>{escape(table.title)}</summary>{table_html(table)}</details>"
        for table in all_estimate_tables(estimate)
        if table.key in _SHOWN
    )
    return f"<div>{head}<ul>{lines}</ul>{bounds_svg(estimate)}{roofline_svg(estimate)}{tables}</div>"
