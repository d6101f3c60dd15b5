"""Pictures: one grid of cells, drawn in text and in SVG alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

# What a cell is. Text has no colours, so whatever matters is in the cell's words too.
Mark = Literal["plain", "strong", "added", "good", "bad", "faint"]

MAX_WIDTH = 78  # of a picture or a snippet: 80 columns less the indent
_FILLS: Mapping[str, str] = {
    "plain": "none",
    "strong": "#4269d066",
    "added": "#efb11844",
    "good": "#2a9d4a55",
    "bad": "#d33a2c66",
    "faint": "none",
}
_PICTURE_WIDTH = 640.0  # in pixels, before grids go on below
_CHARACTER = 7.3  # width of a character of the monospaced font at 12 px


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows of cells with optional headings.

    Attributes:
        cells: Rows of text; None leaves a hole.
        title: Shown above.
        heads: Headings of the columns.
        names: Headings of the rows.
        marks: What cells are, by (row, column).
    """

    cells: Sequence[Sequence[str | None]]
    title: str = ""
    heads: Sequence[str] = ()
    names: Sequence[str] = ()
    marks: Mapping[tuple[int, int], Mark] = field(default_factory=dict)

    @property
    def num_columns(self) -> int:
        """Return the number of columns of the longest row."""
        return max((len(row) for row in self.cells), default=0)


def columns(rows: Sequence[Sequence[object]], *, gap: int = 2, align: str = "") -> list[str]:
    """Align words in columns; ``align`` has l or r for each, right where it says nothing.

    >>> columns([["A", 8, 1], ["out", 8, 7]], align="l")
    ['A    8  1', 'out  8  7']
    """
    width = max((len(row) for row in rows), default=0)
    table = [[str(cell) for cell in row] + [""] * (width - len(row)) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(width)]
    sides = align.ljust(width, "r")
    return [
        (" " * gap)
        .join(cell.ljust(w) if side == "l" else cell.rjust(w) for cell, w, side in zip(row, widths, sides, strict=True))
        .rstrip()
        for row in table
    ]


def boxes(grid: Grid) -> list[str]:
    r"""Draw a grid with frames.

    >>> print("\n".join(boxes(Grid(cells=[["1", "22"]], title="x"))))
    x
    ┌────┬────┐
    │  1 │ 22 │
    └────┴────┘
    """
    inner = max((len(cell or "") for row in [*grid.cells, grid.heads] for cell in row), default=0)
    names = max((len(name) for name in grid.names), default=0)
    pad = " " * (names + 1 if names else 0)
    lines = [grid.title] if grid.title else []
    if grid.heads:
        lines.append((pad + " " + " ".join(head.center(inner + 2) for head in grid.heads)).rstrip())
    bar = "─" * (inner + 2)
    for at, row in enumerate(grid.cells):
        lines.append(pad + _rule(bar, len(row), "┌┬┐" if at == 0 else "├┼┤"))
        name = grid.names[at].rjust(names) + " " if grid.names else ""
        lines.append(name + "│" + "│".join(f" {(cell or '').rjust(inner)} " for cell in row) + "│")
    if grid.cells:
        lines.append(pad + _rule(bar, len(grid.cells[-1]), "└┴┘"))
    return lines


def beside(*blocks: Sequence[str], gap: int = 3, middle: bool = False) -> list[str]:
    """Put blocks of lines side by side; ``middle`` centres the short ones vertically.

    >>> beside(["ab", "c"], ["->"], ["d"], gap=1)
    ['ab -> d', 'c']
    """
    height = max(map(len, blocks))
    filled = []
    for block in blocks:
        above = (height - len(block)) // 2 if middle else 0
        width = max(map(len, block), default=0)
        lines = [""] * above + list(block)
        filled.append([line.ljust(width) for line in lines + [""] * (height - len(lines))])
    return [(" " * gap).join(parts).rstrip() for parts in zip(*filled, strict=True)]


def fits(lines: Sequence[str], *, width: int = MAX_WIDTH) -> bool:
    """Tell whether no line is wider than a terminal of 80 columns shows with an indent.

    >>> fits(["x" * 78]), fits(["x" * 79])
    (True, False)
    """
    return all(len(line) <= width for line in lines)


# --- SVG ----------------------------------------------------------------------------------------------------------


class Svg:
    """Collects shapes and becomes one ``<svg>`` element that takes the colours of the page."""

    def __init__(self, *, title: str) -> None:
        self._title = title
        self._parts: list[str] = []
        self._right = self._bottom = 0.0

    def _grow(self, right: float, bottom: float) -> None:
        self._right, self._bottom = max(self._right, right), max(self._bottom, bottom)

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False, faint: bool = False
    ) -> None:
        """Write ``words`` with the baseline at ``y``."""
        width = len(words) * _CHARACTER
        self._grow(x + {"start": width, "middle": width / 2, "end": 0}[anchor], y + 5)
        weight = ' font-weight="bold"' if bold else ""
        opacity = ' opacity="0.6"' if faint else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{weight}{opacity} xml:space="preserve">'
            f"{escape(words)}</text>"
        )

    def cell(self, x: float, y: float, width: float, height: float, words: str = "", *, mark: Mark = "plain") -> None:
        """Draw one framed cell with words in its middle."""
        self._grow(x + width, y + height)
        dashes = ' stroke-dasharray="3 2" opacity="0.7"' if mark in ("added", "faint") else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{_FILLS[mark]}" '
            f'stroke="currentColor" stroke-opacity="0.6"{dashes}/>'
        )
        if words:
            self.text(x + width / 2, y + height / 2 + 4, words, anchor="middle", faint=mark == "faint")

    def line(self, x1: float, y1: float, x2: float, y2: float, *, arrow: bool = False, faint: bool = False) -> None:
        """Draw a line, with a head at its end if it is an arrow."""
        self._grow(max(x1, x2), max(y1, y2))
        opacity = ' opacity="0.45"' if faint else ""
        self._parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor"{opacity}/>')
        if arrow:
            length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1e-9)
            ux, uy = (x2 - x1) / length * 7, (y2 - y1) / length * 7
            points = (
                f"{x2:g},{y2:g} {x2 - ux - uy / 2:g},{y2 - uy + ux / 2:g} {x2 - ux + uy / 2:g},{y2 - uy - ux / 2:g}"
            )
            self._parts.append(f'<polygon points="{points}" fill="currentColor"{opacity}/>')

    def grid(self, grid: Grid, *, x: float = 0, y: float = 0, size: float = 26) -> tuple[float, float]:
        """Draw a grid with its top left corner at (x, y); return its right and lower end."""
        width, left = _cell_width(grid, size), x + _names_width(grid)
        top = y
        if grid.title:
            self.text(x, top + 12, grid.title, bold=True)
            top += 20
        if grid.heads:
            for at, head in enumerate(grid.heads):
                self.text(left + (at + 0.5) * width, top + 12, head, anchor="middle", faint=True)
            top += 18
        for row, cells in enumerate(grid.cells):
            if grid.names:
                self.text(left - _CHARACTER, top + (row + 0.5) * size + 4, grid.names[row], anchor="end")
            for column, words in enumerate(cells):
                if words is not None:
                    mark = grid.marks.get((row, column), "plain")
                    self.cell(left + column * width, top + row * size, width, size, words, mark=mark)
        return left + grid.num_columns * width, top + len(grid.cells) * size

    def render(self) -> str:
        """Return the element; it shrinks with the page and never grows beyond its own size."""
        width, height = self._right + 4, self._bottom + 4
        return "\n".join([
            f'<svg viewBox="-2 -2 {width:g} {height:g}" width="{width:g}" style="max-width: 100%; height: auto" '
            'role="img" font-size="12" font-family="ui-monospace, Menlo, Consolas, monospace" fill="currentColor">',
            f"<title>{escape(self._title)}</title>",
            *self._parts,
            "</svg>",
        ])  # fmt: skip


def grids_svg(title: str, grids: Sequence[Grid], *, size: float = 26) -> str:
    """Draw grids side by side, in as many rows as they need."""
    picture, x, y, below = Svg(title=title), 0.0, 0.0, 0.0
    for grid in grids:
        width = _grid_width(grid, size)
        if x and x + width > _PICTURE_WIDTH:
            x, y = 0.0, below + 18
        _, bottom = picture.grid(grid, x=x, y=y, size=size)
        x, below = x + width + 28, max(below, bottom)
    return picture.render()


def _cell_width(grid: Grid, size: float) -> float:
    longest = max((len(cell or "") for row in [*grid.cells, grid.heads] for cell in row), default=1)
    return max(size, longest * _CHARACTER + 8)


def _names_width(grid: Grid) -> float:
    return max((len(name) for name in grid.names), default=-1) * _CHARACTER + _CHARACTER


def _grid_width(grid: Grid, size: float) -> float:
    cells = _names_width(grid) + grid.num_columns * _cell_width(grid, size)
    return max(cells, len(grid.title) * _CHARACTER)


def _rule(bar: str, cells: int, corners: str) -> str:
    return corners[0] + corners[1].join([bar] * cells) + corners[2]


def numbered(items: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Number items from 1; the numbers are equally wide.

    >>> list(numbered(["a", "b"]))
    [('1.', 'a'), ('2.', 'b')]
    """
    width = len(str(len(items))) + 1
    for at, item in enumerate(items, start=1):
        yield f"{at}.".rjust(width), item
