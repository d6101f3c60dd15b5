"""The roofline as a picture: attainable speed over arithmetic intensity, both logarithmic."""

from __future__ import annotations

import math
from typing import NamedTuple

from trainworthy.explain.drawing import Mark, Svg

_WIDTH, _HEIGHT = 56, 9


class Roof(NamedTuple):
    """A machine and the points under its roof; ``points`` are (name, FLOP/B)."""

    peak_tflops: float
    memory_gb_per_s: float
    points: tuple[tuple[str, float], ...]

    @property
    def ridge(self) -> float:
        """Return the intensity at which the roof becomes flat."""
        return self.peak_tflops * 1e3 / self.memory_gb_per_s

    def tflops(self, intensity: float) -> float:
        """Return the height of the roof."""
        return min(self.peak_tflops, intensity * self.memory_gb_per_s / 1e3)

    def range(self) -> tuple[float, float]:
        """Return the decades that show the ridge and all points."""
        shown = [self.ridge, *(max(intensity, 1e-3) for _, intensity in self.points)]
        return math.floor(math.log10(min(shown)) - 0.3), math.ceil(math.log10(max(shown)) + 0.3)


def roof_lines(roof: Roof) -> list[str]:
    """Draw the roof in text; points are numbered from 1 and explained below.

    >>> roof_lines(Roof(125, 900, (("a product", 124.1),)))[-1]
    '1 a product: 124.1 FLOP/B, 111.7 TFLOP/s at most'
    """
    low, high = roof.range()
    rows = [[" "] * _WIDTH for _ in range(_HEIGHT)]

    def column(intensity: float) -> int:
        return round((math.log10(max(intensity, 1e-3)) - low) / (high - low) * (_WIDTH - 1))

    floor = math.log10(roof.tflops(10.0**low))
    top = math.log10(roof.peak_tflops)

    def row(tflops: float) -> int:
        return _HEIGHT - 1 - round((math.log10(tflops) - floor) / max(top - floor, 1e-9) * (_HEIGHT - 1))

    for at in range(_WIDTH):
        intensity = 10 ** (low + at / (_WIDTH - 1) * (high - low))
        rows[row(roof.tflops(intensity))][at] = "─" if intensity >= roof.ridge else "╱"  # noqa: RUF001  a roof
    for number, (_, intensity) in enumerate(roof.points, start=1):
        rows[row(roof.tflops(max(intensity, 10.0**low)))][column(intensity)] = str(number) if number < 10 else "*"
    ridge = column(roof.ridge)
    lines = [f"{'':>11} │{''.join(cells).rstrip()}" for cells in rows]
    lines[0] = f"{roof.peak_tflops:>7.4g} TF/s{lines[0][12:]}"
    axis = "".join("┴" if at == ridge else "─" for at in range(_WIDTH))
    lines.append(f"{'':>11} └{axis}")
    words = f"ridge {roof.ridge:.1f} FLOP/B"
    lines.append(" " * 13 + " " * max(min(ridge - len(words) // 2, _WIDTH - len(words)), 0) + words)
    for number, (name, intensity) in enumerate(roof.points, start=1):
        lines.append(f"{number} {name}: {intensity:,.1f} FLOP/B, {roof.tflops(intensity):,.1f} TFLOP/s at most")
    return lines


def roof_svg(title: str, roof: Roof) -> str:
    """Draw the roof as a picture."""
    picture = Svg(title=title)
    low, high = roof.range()
    floor, top = math.log10(roof.tflops(10.0**low)), math.log10(roof.peak_tflops)
    width, height, left, above = 420.0, 180.0, 20.0, 30.0

    def place(intensity: float) -> tuple[float, float]:
        x = (math.log10(max(intensity, 10.0**low)) - low) / (high - low)
        y = (math.log10(roof.tflops(max(intensity, 10.0**low))) - floor) / max(top - floor, 1e-9)
        return left + x * width, above + (1 - y) * height

    start, ridge, end = place(10.0**low), place(roof.ridge), place(10.0**high)
    picture.line(left, above + height, left + width, above + height, arrow=True, faint=True)
    picture.line(left, above + height, left, above - 10, arrow=True, faint=True)
    picture.line(*start, *ridge)
    picture.line(*ridge, *end)
    picture.line(ridge[0], ridge[1], ridge[0], above + height, faint=True)
    picture.text(ridge[0], above + height + 18, f"{roof.ridge:.1f} FLOP/B", anchor="middle")
    picture.text(left + 6, above - 14, f"{roof.peak_tflops:g} TFLOP/s, {roof.memory_gb_per_s:,.0f} GB/s", faint=True)
    for number, (name, intensity) in enumerate(roof.points, start=1):
        x, y = place(intensity)
        mark: Mark = "bad" if intensity < roof.ridge else "good"
        picture.cell(x - 9, y - 9, 18, 18, str(number), mark=mark)
        # Names below the picture: points lie close together, and names are long.
        words = f"{number} {name}: {intensity:,.1f} FLOP/B, {roof.tflops(intensity):,.1f} TFLOP/s at most"
        picture.text(left, above + height + 24 + 18 * number, words)
    return picture.render()
