"""Memory over time as an inline SVG: stacked by kind, with the card's limit and a tooltip for every stretch.

Colours are attributes, not styles, and text takes ``currentColor``: the drawing holds with CSS blocked and in the dark.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from trainworthy.inspect.advice import kind_label
from trainworthy.inspect.result import RehearsalResult
from trainworthy.report.spark import buckets
from trainworthy.report.tables import clean
from trainworthy.tape.memory import MemoryPoint
from trainworthy.tape.record import Kind
from trainworthy.units import format_bytes

KIND_COLOURS: dict[Kind, str] = {
    "parameter": "#4269d0", "buffer": "#9498a0", "optimizer_state": "#a463f2", "gradient": "#3ca951",
    "activation": "#efb118", "input": "#6cc5b0", "temporary": "#ff725c", "workspace": "#9c6b4e",
}  # fmt: skip
PHASE_COLOURS = {
    "data": "#6cc5b0", "forward": "#4269d0", "loss": "#97bbf5", "recompute": "#ff725c", "backward": "#efb118",
    "optimizer": "#a463f2", "other": "#9498a0",
}  # fmt: skip
# Bottom to top: what stays first, what comes and goes last.
_STACK: tuple[Kind, ...] = (
    "parameter",
    "buffer",
    "optimizer_state",
    "gradient",
    "workspace",
    "input",
    "activation",
    "temporary",
)

_WIDTH, _HEIGHT = 960, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 8, 32, 42
_MAX_STRETCHES = 400


def timeline_svg(result: RehearsalResult) -> str:
    """Draw memory over the operations of the rehearsal; empty if nothing was allocated."""
    points = buckets(list(result.timeline.points), _MAX_STRETCHES)
    highest = max((p.total_bytes for p in points), default=0)
    if not highest:
        return ""
    limit = result.usable_memory_bytes
    is_near = limit is not None and limit < 4 * highest
    frame = _Frame(points, max(highest, result.peak_memory_bytes, (limit or 0) if is_near else 0) * 1.04)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="currentColor">',
        "<title>Memory over the operations of the rehearsal, stacked by kind</title>",
        *_grid(frame),
        *_areas(frame),
        *_phases(frame),
        *_limit(frame, limit, is_near),
        *_peak(frame, result),
        *_tooltips(frame),
        "</svg>",
    ]
    return "\n".join(parts)


def legend_kinds() -> tuple[Kind, ...]:
    """List the kinds in the order of the stack, top to bottom."""
    return tuple(reversed(_STACK))


class _Frame:
    """Scales: operations to x, bytes to y."""

    def __init__(self, points: list[MemoryPoint], top_bytes: float) -> None:
        self.points = points
        self.top_bytes = top_bytes
        self.first = points[0].index
        self.span = max(points[-1].index + 1 - self.first, 1)

    def x(self, index: float) -> float:
        return round(_LEFT + (index - self.first) / self.span * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, num_bytes: float) -> float:
        return round(_HEIGHT - _BOTTOM - num_bytes / self.top_bytes * (_HEIGHT - _TOP - _BOTTOM), 1)

    def end(self, at: int) -> int:
        """Return the first operation after stretch ``at``."""
        return self.points[at + 1].index if at + 1 < len(self.points) else self.first + self.span


def _grid(frame: _Frame) -> Iterator[str]:
    step = _nice_step(frame.top_bytes / 5)
    level = 0
    while level * step <= frame.top_bytes:
        y = frame.y(level * step)
        yield (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="currentColor" stroke-opacity="0.15"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{format_bytes(level * step)}</text>'
        )
        level += 1


def _nice_step(raw: float) -> int:
    """Round up to 1, 2 or 5 times a power of ten of a binary unit."""
    unit = 1
    while raw / unit >= 1024:
        unit *= 1024
    for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1024):
        if factor * unit >= raw:
            return factor * unit
    return 1024 * unit


def _areas(frame: _Frame) -> Iterator[str]:
    base = [0] * len(frame.points)
    for kind in _STACK:
        top = [b + p.by_kind_bytes.get(kind, 0) for b, p in zip(base, frame.points, strict=True)]
        if top != base:
            upper = " ".join(f"{frame.x(p.index)},{frame.y(t)}" for p, t in zip(frame.points, top, strict=True))
            lower = " ".join(
                f"{frame.x(p.index)},{frame.y(b)}" for p, b in reversed(list(zip(frame.points, base, strict=True)))
            )
            end = frame.x(frame.first + frame.span)
            corner = f"{end},{frame.y(top[-1])} {end},{frame.y(base[-1])}"
            yield f'<polygon points="{upper} {corner} {lower}" fill="{KIND_COLOURS[kind]}" fill-opacity="0.85"/>'
        base = top


def _phases(frame: _Frame) -> Iterator[str]:
    """Draw a strip of phases, and the beginning of every step, below the axis."""
    y = _HEIGHT - _BOTTOM + 4
    for phase, start, end in _runs([p.phase for p in frame.points]):
        left, right = frame.x(frame.points[start].index), frame.x(frame.end(end))
        yield (
            f'<rect x="{left}" y="{y}" width="{round(max(right - left, 0.5), 1)}" height="10" '
            f'fill="{PHASE_COLOURS[phase]}"><title>{phase}</title></rect>'
        )
        if right - left > 8 * len(phase):
            yield f'<text x="{left + 3}" y="{y + 9}" font-size="9" fill="#000">{phase}</text>'
    for step, start, end in _runs([str(p.step) for p in frame.points]):
        x = frame.x(frame.points[start].index)
        room = frame.x(frame.end(end)) - x
        label = f"step {step}" if step != "0" else "setup"
        label = label if room > 7 * len(label) else ""
        yield (
            f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{y + 24}" stroke="currentColor" stroke-opacity="0.4" '
            f'stroke-dasharray="2 3"/><text x="{x + 3}" y="{y + 25}">{label}</text>'
        )


def _runs(values: list[str]) -> Iterator[tuple[str, int, int]]:
    start = 0
    for at in range(1, len(values) + 1):
        if at == len(values) or values[at] != values[start]:
            yield values[start], start, at - 1
            start = at


def _limit(frame: _Frame, limit: int | None, is_near: bool) -> Iterator[str]:
    if limit is None:
        return
    if not is_near:
        text = f"the card's limit, {format_bytes(limit)}, is far above"
        yield f'<text x="{_WIDTH - _RIGHT}" y="12" text-anchor="end" fill-opacity="0.7">{text}</text>'
        return
    y = frame.y(limit)
    yield (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#e02d3c" stroke-width="2"/>'
        f'<text x="{_WIDTH - _RIGHT - 4}" y="{y - 4}" text-anchor="end" fill="#e02d3c" '
        f'paint-order="stroke" stroke="Canvas" stroke-width="3">'
        f"usable on the card: {format_bytes(limit)}</text>"
    )


def _peak(frame: _Frame, result: RehearsalResult) -> Iterator[str]:
    at = max(frame.points, key=lambda p: p.total_bytes)
    x, y = frame.x(at.index), frame.y(at.total_bytes)
    anchor = "end" if x > _WIDTH / 2 else "start"
    yield (
        f'<circle cx="{x}" cy="{y}" r="3.5" fill="none" stroke="currentColor" stroke-width="1.5"/>'
        f'<text x="{x + (-6 if anchor == "end" else 6)}" y="{y - 5}" text-anchor="{anchor}">'
        f"peak {format_bytes(result.peak_memory_bytes)}</text>"
    )


def _tooltips(frame: _Frame) -> Iterator[str]:
    height = _HEIGHT - _TOP - _BOTTOM
    for at, point in enumerate(frame.points):
        left, right = frame.x(point.index), frame.x(frame.end(at))
        yield (
            f'<rect x="{left}" y="{_TOP}" width="{round(max(right - left, 0.3), 1)}" height="{height}" '
            f'fill-opacity="0"><title>{_tooltip(point)}</title></rect>'
        )


def _tooltip(point: MemoryPoint) -> str:
    kinds = sorted(point.by_kind_bytes.items(), key=lambda item: -item[1])
    lines = [
        f"{format_bytes(point.total_bytes)} while {clean(point.op)}",
        f"line {clean(point.source)}",
        f"module {clean(point.module) or '-'}",
        f"step {point.step}, {point.phase}",
        *(f"{kind_label(kind)} {format_bytes(size)}" for kind, size in kinds if size),
    ]
    return escape("\n".join(lines))
