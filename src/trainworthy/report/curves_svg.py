"""Curves of a training run as an SVG that stands alone: step across, value up, a dashed line for each bound.

Colours are attributes and text takes ``currentColor``, so that the drawing holds in a page, without CSS
and in the dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Final, NamedTuple

__all__ = ["curves_svg"]

Points = Sequence[tuple[float, float]]

_COLOURS: Final = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")
_WIDTH, _HEIGHT = 780, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 210, 34, 40  # right: the longest label, "discriminator (training) 0.8377"
_TICKS: Final = 5
_LABEL_GAP: Final = 14.0
_MOST_POINTS: Final = 400


class _Axes(NamedTuple):
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return round(_LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(_HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM), 1)


def curves_svg(
    title: str, curves: Mapping[str, Points], *, bounds: Mapping[str, float] | None = None, x_label: str = "step"
) -> str:
    """Draw curves by name; empty if there is no finite point.

    Args:
        title: What the drawing shows.
        curves: Points (x, y) of each curve, x rising; what is not finite is left out.
        bounds: Values that get a dashed line across, by name.
        x_label: What lies across.
    """
    kept = {name: _thinned([p for p in points if isfinite(p[1])]) for name, points in curves.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return ""
    limits = dict(bounds or {})
    axes = _axes(kept, limits)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" '
            'font-size="12" font-family="system-ui, sans-serif" fill="currentColor">',
            f"<title>{escape(title)}</title>",
            "<style>@media (prefers-color-scheme: dark) { svg:root { color: #ddd } }</style>",
            f'<text x="{_LEFT}" y="18" font-weight="600">{escape(title)}</text>',
            *_grid(axes, x_label),
            *_lines(axes, kept, limits),
            "</svg>",
        ]
    )


def _thinned(points: Points) -> Points:
    """Keep at most a few hundred points: the mean of each stretch."""
    if len(points) <= _MOST_POINTS:
        return points
    size = -(-len(points) // _MOST_POINTS)
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _axes(curves: Mapping[str, Points], bounds: Mapping[str, float]) -> _Axes:
    xs = [x for points in curves.values() for x, _ in points]
    ys = sorted([y for points in curves.values() for _, y in points] + list(bounds.values()))
    if len(ys) > 20:  # the first steps of a run must not flatten the rest
        ys = [*ys[: -max(1, len(ys) // 50)], *bounds.values()]
    low, high = min(ys), max(ys)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    bottom = 0.0 if 0 <= low < 0.3 * high else low - margin
    return _Axes(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, bottom, high + margin)


def _grid(axes: _Axes, x_label: str) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for value in _ticks(axes.y_low, axes.y_high):
        y = axes.y(value)
        yield f'<path d="M{_LEFT} {y}H{right}" stroke="currentColor" stroke-opacity=".15"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>'
    for value in _ticks(axes.x_low, axes.x_high):
        yield f'<text x="{axes.x(value)}" y="{bottom + 16}" text-anchor="middle">{value:,g}</text>'
    yield f'<path d="M{_LEFT} {bottom}H{right}" stroke="currentColor" stroke-opacity=".5"/>'
    yield f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'


def _ticks(low: float, high: float) -> list[float]:
    """Return round values between two others, about five."""
    raw = (high - low) / _TICKS
    power = 10.0 ** floor(log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = -floor(-low / step)
    return [round(n * step, 12) for n in range(first, floor(high / step + 1e-9) + 1)]


def _lines(axes: _Axes, curves: Mapping[str, Points], bounds: Mapping[str, float]) -> Iterator[str]:
    labels: list[tuple[float, str, str]] = []
    for colour, (name, points) in zip(_COLOURS * (len(curves) // len(_COLOURS) + 1), curves.items(), strict=False):
        path = " ".join(f"{axes.x(x)},{axes.y(y)}" for x, y in points)
        if len(points) == 1:
            yield f'<circle cx="{axes.x(points[0][0])}" cy="{axes.y(points[0][1])}" r="3" fill="{colour}"/>'
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"/>'
        labels.append((axes.y(points[-1][1]), colour, f"{name} {points[-1][1]:.4g}"))
    for name, value in bounds.items():
        y = axes.y(value)
        across = f"M{_LEFT} {y}H{_WIDTH - _RIGHT}"
        yield f'<path d="{across}" stroke="currentColor" stroke-dasharray="5 4" stroke-opacity=".7"/>'
        labels.append((y, "currentColor", f"{name} {value:.4g}"))
    at = -_LABEL_GAP
    for y, colour, text in sorted(labels):
        at = max(y, at + _LABEL_GAP)
        yield f'<text x="{_WIDTH - _RIGHT + 8}" y="{at + 4:.1f}" fill="{colour}">{escape(text)}</text>'
