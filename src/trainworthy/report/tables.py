"""Tables as data: what text, HTML and notebooks show alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Align = Literal["left", "right"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; a terminal narrower than ``from_width`` does not show it."""

    title: str
    align: Align = "left"
    from_width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A titled table of text cells; ``key`` names it in HTML, ``note`` is shown below it.

    ``emphasis`` are the numbers of rows to stress, such as totals.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    emphasis: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.key!r} has {len(self.columns)} columns, a row has {len(row)}: {row}")

    def visible(self, width: int | None) -> list[int]:
        """Return the columns that a terminal of ``width`` shows; None shows all."""
        return [i for i, column in enumerate(self.columns) if width is None or column.from_width <= width]


def left(title: str, *, from_width: int = 0) -> Column:
    """Make a column of words."""
    return Column(title=title, from_width=from_width)


def right(title: str, *, from_width: int = 0) -> Column:
    """Make a column of numbers."""
    return Column(title=title, align="right", from_width=from_width)


def clean(text: object) -> str:
    r"""Make text from a script safe for a terminal: control characters and bidirectional marks are spelled out.

    >>> clean("conv\x1b[31m1")
    'conv\\x1b[31m1'
    """
    return "".join(_spelled(character) for character in str(text))


def clean_lines(text: object) -> str:
    r"""Do the same but keep line breaks and tabs (as spaces).

    >>> clean_lines("a\tb\r\nc\x07")
    'a    b\nc\\x07'
    """
    lines = str(text).replace("\r\n", "\n").replace("\t", "    ").split("\n")
    return "\n".join(clean(line) for line in lines)


def _spelled(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return character.encode("unicode_escape").decode("ascii")


def rows_of(rows: Iterable[Iterable[object]]) -> tuple[tuple[str, ...], ...]:
    """Clean every cell of ``rows``."""
    return tuple(tuple(clean(cell) for cell in row) for row in rows)
