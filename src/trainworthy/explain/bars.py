"""Bars: amounts beside each other, in text and in SVG alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trainworthy.explain.drawing import MAX_WIDTH, Mark, Svg

_CELLS = 30  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Bar(NamedTuple):
    """One amount: what it is, how large, and how that is written."""

    label: str
    amount: float
    words: str
    mark: Mark = "strong"


def time_words(seconds: float) -> str:
    """Write a duration with four digits that count, in ns, us, ms or s.

    >>> time_words(1.538e-4), time_words(0.0123), time_words(4.5), time_words(0)
    ('153.8 us', '12.3 ms', '4.5 s', '0 s')
    """
    for scale, unit in ((1e9, "ns"), (1e6, "us"), (1e3, "ms")):
        if 0 < seconds * scale < 999.95:
            return f"{seconds * scale:.4g} {unit}"
    return f"{seconds:.4g} s"


def bar_lines(bars: Sequence[Bar], *, cells: int = _CELLS) -> list[str]:
    """Draw bars; the longest has ``cells`` characters, fewer where words leave no room.

    >>> for line in bar_lines([Bar("a", 4, "4 B"), Bar("bb", 1, "1 B")], cells=8):
    ...     print(line)
    a   ████████  4 B
    bb  ██        1 B
    """
    labels = max((len(bar.label) for bar in bars), default=0)
    words = max((len(bar.words) for bar in bars), default=0)
    cells = max(min(cells, MAX_WIDTH - labels - words - 4), 8)
    most = max((bar.amount for bar in bars), default=0)
    return [
        f"{bar.label:{labels}}  {_bar(bar.amount, most, cells):{cells}}  {bar.words}".rstrip() for bar in bars
    ]  # fmt: skip


def bars_svg(title: str, bars: Sequence[Bar]) -> str:
    """Draw bars as a picture."""
    picture = Svg(title=title)
    left = max((len(bar.label) for bar in bars), default=0) * 7.3 + 10
    most = max((bar.amount for bar in bars), default=0)
    for at, bar in enumerate(bars):
        top = at * 26
        picture.text(left - 8, top + 16, bar.label, anchor="end")
        width = bar.amount / most * 320 if most else 0.0
        if width > 0:
            picture.cell(left, top + 2, max(width, 1), 20, mark=bar.mark)
        picture.text(left + width + 8, top + 16, bar.words)
    return picture.render()


def _bar(amount: float, most: float, cells: int) -> str:
    eighths = round(amount / most * cells * 8) if most else 0
    whole, rest = divmod(eighths, 8)
    if not eighths and amount > 0:
        rest = 1  # what is there can be seen
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
