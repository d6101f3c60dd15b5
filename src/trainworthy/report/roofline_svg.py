"""The roofline of a step as an inline SVG: intensity across, rate up, both logarithmic; the area of a point is time.

Colours are attributes, not styles, and text takes ``currentColor``: the drawing holds with CSS blocked and in the dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10, sqrt
from typing import NamedTuple

from trainworthy.estimate.result import Estimate, Point
from trainworthy.report.tables import clean

__all__ = ["BOUND_COLOURS", "roofline_svg"]

BOUND_COLOURS = {
    "compute": "#4269d0", "memory": "#efb118", "latency": "#9498a0", "host": "#ff725c", "network": "#3ca951",
    "bubble": "#a463f2",
}  # fmt: skip

_WIDTH, _HEIGHT = 960, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 24, 46
_LARGEST_R, _SMALLEST_R = 34.0, 1.6
_LABELS = 8
_SHORTEST_SHARE = 2e-5
_SCALE_SHARE = 1e-3  # shorter ones do not stretch the axis; they lie on its end


class _Axes(NamedTuple):
    """Powers of ten at the ends of both axes."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        at = (log10(value) - self.x_low) / (self.x_high - self.x_low)
        return round(_LEFT + at * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        at = (log10(value) - self.y_low) / (self.y_high - self.y_low)
        return round(_HEIGHT - _BOTTOM - at * (_HEIGHT - _TOP - _BOTTOM), 1)


def roofline_svg(estimate: Estimate) -> str:
    """Draw the operations of a step under the roofs of the machine; empty if there is nothing to draw."""
    points = [p for p in estimate.points if p.tflops > 0 and p.flops_per_byte > 0 and p.share > _SHORTEST_SHARE]
    if not points or not estimate.memory_gb_per_s or not estimate.roofs_tflops:
        return ""
    axes = _axes(points, estimate)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="currentColor">',
        "<title>Roofline: FLOPs per byte against TFLOP/s; the area of a point is its time</title>",
        *_grid(axes),
        *_roofs(axes, estimate),
        *_circles(axes, points),
        *_labels(axes, points),
        "</svg>",
    ]
    return "\n".join(parts)


def _axes(points: Sequence[Point], estimate: Estimate) -> _Axes:
    top = max(estimate.roofs_tflops.values())
    ridge = top * 1e3 / (estimate.memory_gb_per_s or 1.0)
    xs = [p.flops_per_byte for p in points]
    ys = [p.tflops for p in points if p.share >= _SCALE_SHARE] or [p.tflops for p in points]
    return _Axes(
        x_low=max(log10(min(xs)) - 0.25, -3.0), x_high=max(log10(max(*xs, ridge)) + 0.35, 0.5),
        y_low=max(log10(min(ys)) - 0.2, log10(top) - 6), y_high=log10(top) + 0.22,
    )  # fmt: skip


def _grid(axes: _Axes) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for power in range(ceil(axes.x_low), floor(axes.x_high) + 1):
        x = axes.x(10.0**power)
        yield (
            f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{bottom}" stroke="currentColor" stroke-opacity="0.13"/>'
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{_power(power)}</text>'
        )
    for power in range(ceil(axes.y_low), floor(axes.y_high) + 1):
        y = axes.y(10.0**power)
        yield (
            f'<line x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}" stroke="currentColor" stroke-opacity="0.13"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{_power(power)}</text>'
        )
    yield f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 8}" text-anchor="middle">FLOP per byte moved</text>'
    middle = (_TOP + bottom) / 2
    yield f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">TFLOP/s</text>'


def _power(power: int) -> str:
    return f"{10.0**power:g}" if -4 <= power <= 4 else f"1e{power}"


def _roofs(axes: _Axes, estimate: Estimate) -> Iterator[str]:
    """Draw the slope of the memory, and one roof for each unit."""
    slope = (estimate.memory_gb_per_s or 1.0) / 1e3  # TFLOP/s at 1 FLOP/B
    top = max(estimate.roofs_tflops.values())
    start = max(10**axes.x_low, 10**axes.y_low / slope)
    yield _line(axes.x(start), axes.y(start * slope), axes.x(top / slope), axes.y(top))
    middle = 10 ** ((log10(start) + log10(top / slope)) / 2)
    x, y = axes.x(middle), axes.y(middle * slope)
    angle = _angle(axes.x(start), axes.y(start * slope), axes.x(top / slope), axes.y(top))
    yield (
        f'<text x="{x}" y="{y}" dy="-6" text-anchor="middle" fill-opacity="0.75" transform="rotate({angle} {x} {y})">'
        f"memory {estimate.memory_gb_per_s:,.0f} GB/s</text>"
    )
    for unit, peak in sorted(estimate.roofs_tflops.items(), key=lambda item: -item[1]):
        y = axes.y(peak)
        if y > _HEIGHT - _BOTTOM:
            continue
        yield _line(axes.x(max(peak / slope, 10**axes.x_low)), y, _WIDTH - _RIGHT, y)
        label = f"{escape(clean(unit))} {peak:g} TFLOP/s"
        yield f'<text x="{_WIDTH - _RIGHT}" y="{y - 5}" text-anchor="end" fill-opacity="0.75">{label}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-opacity="0.6" stroke-width="1.5"/>'
    )


def _angle(x1: float, y1: float, x2: float, y2: float) -> float:
    from math import atan2, degrees

    return round(degrees(atan2(y2 - y1, x2 - x1)), 1)


def _circles(axes: _Axes, points: Sequence[Point]) -> Iterator[str]:
    for point in points:  # the longest first, so that the short ones lie on top
        yield (
            f'<circle cx="{axes.x(point.flops_per_byte)}" cy="{axes.y(max(point.tflops, 10**axes.y_low))}" '
            f'r="{_radius(point)}" fill="{BOUND_COLOURS[point.bound]}" fill-opacity="0.45" '
            f'stroke="{BOUND_COLOURS[point.bound]}"><title>{_tooltip(point)}</title></circle>'
        )


def _radius(point: Point) -> float:
    """Return the radius: the area is in proportion to the time, a fifth of the step being the largest."""
    return round(max(min(_LARGEST_R * sqrt(point.share / 0.2), _LARGEST_R), _SMALLEST_R), 1)


def _tooltip(point: Point) -> str:
    lines = [
        f"{clean(point.name)}{f' x{point.count:,}' if point.count > 1 else ''}",
        f"line {clean(point.path)}:{point.line}",
        f"module {clean(point.module).replace('{}', '*') or '-'}",
        f"{point.seconds * 1e3:.3g} ms, {100 * point.share:.1f} % of the step",
        f"{point.flops_per_byte:.3g} FLOP/B, {point.tflops:.3g} TFLOP/s, bound by {point.bound}",
    ]
    return escape("\n".join(lines))


def _labels(axes: _Axes, points: Sequence[Point]) -> Iterator[str]:
    """Name the longest points where there is room."""
    taken: list[tuple[float, float]] = []
    for point in points[: 3 * _LABELS]:
        x, y = axes.x(point.flops_per_byte), axes.y(max(point.tflops, 10**axes.y_low))
        if len(taken) >= _LABELS:
            return
        if any(abs(x - a) < 110 and abs(y - b) < 15 for a, b in taken):
            continue
        taken.append((x, y))
        name = clean(point.module).replace("{}", "*").split(".")[-1] or clean(point.name)
        text = escape(f"{clean(point.name).split('.')[0].lstrip('_')[:22]} ({name[:16]})")
        anchor, dx = ("end", -_radius(point) - 3) if x > _WIDTH * 0.75 else ("start", _radius(point) + 3)
        yield (
            f'<text x="{x + dx:.1f}" y="{y + 4}" text-anchor="{anchor}" font-size="11" paint-order="stroke" '
            f'stroke="Canvas" stroke-width="3">{text}</text>'
        )
