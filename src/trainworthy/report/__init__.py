"""Results as text, JSON, HTML, traces and snapshots; computes nothing, never imports torch.

Every name is loaded when it is first used: a check prints findings, and needs none of the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "memory_snapshot": "trainworthy.report.memory_viz",
    "render_html": "trainworthy.report.html",
    "render_json": "trainworthy.report.json",
    "render_memory_snapshot": "trainworthy.report.memory_viz",
    "render_text": "trainworthy.report.text",
    "render_trace": "trainworthy.report.trace",
    "schema": "trainworthy.report.json",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'trainworthy.report' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
