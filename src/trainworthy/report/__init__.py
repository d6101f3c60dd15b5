"""Results as text, JSON, HTML, traces and snapshots; computes nothing, never imports torch."""

from trainworthy.report.html import render_html
from trainworthy.report.json import render_json, schema
from trainworthy.report.memory_viz import memory_snapshot, render_memory_snapshot
from trainworthy.report.text import render_text
from trainworthy.report.trace import render_trace

__all__ = [
    "memory_snapshot",
    "render_html",
    "render_json",
    "render_memory_snapshot",
    "render_text",
    "render_trace",
    "schema",
]
