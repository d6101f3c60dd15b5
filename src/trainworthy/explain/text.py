"""An explanation in a terminal, and plain lines when piped."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator

from trainworthy.explain.drawing import numbered
from trainworthy.explain.explanation import Explanation

_LONGEST = 120  # prose in longer lines is hard to read, however wide the terminal
_INDENT = "  "
_STYLES = {"title": "1", "good": "1;32", "bad": "1;31", "head": "1;36", "dim": "2"}


def render_text(explanation: Explanation, *, width: int | None = None, color: bool | None = None) -> str:
    """Render an explanation.

    Args:
        explanation: What to show.
        width: Columns of the terminal; 0 does not wrap. Default: what standard output is, 0 when piped.
        color: Whether to use colour. Default: on a terminal, unless NO_COLOR is set.
    """
    terminal = sys.stdout.isatty()
    if width is None:
        width = shutil.get_terminal_size().columns if terminal else 0
    if color is None:
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return _Text(explanation, width=width, color=color).render()


class _Text:
    def __init__(self, explanation: Explanation, *, width: int, color: bool) -> None:
        self._it = explanation
        self._width = min(max(width, 20), _LONGEST) if width else 0
        self._color = color

    def render(self) -> str:
        return "\n".join(line.rstrip() for line in self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        it = self._it
        yield from self._wrapped(f"{it.subject}: " if it.subject else "", it.title, style="title")
        yield from self._wrapped("RESULT   ", it.result, style="bad" if it.problem else "good")
        if it.diagram:
            yield ""
            yield from (_INDENT + line for line in it.diagram.split("\n"))
        if it.steps:
            yield from self._head("Steps")
            for mark, step in numbered(it.steps):
                yield from self._wrapped(f"{_INDENT}{mark} ", step)
        if it.formulas:
            yield from self._head("Formula")
            for formula in it.formulas:
                yield from (_INDENT + line for line in formula.text.split("\n"))
                yield from self._wrapped(f"{_INDENT}  source: ", formula.source, style="dim")
        if it.notes:
            yield from self._head("Beware")
            for note in it.notes:
                yield from self._wrapped(f"{_INDENT}- ", note)
        if it.snippet:
            yield from self._head("Try it")
            yield from (_INDENT + line for line in it.snippet.rstrip("\n").split("\n"))
        if it.see_also:
            yield from self._head("See also")
            yield from self._wrapped(_INDENT, ", ".join(it.see_also))

    def _head(self, words: str) -> Iterator[str]:
        yield from ("", self._style(words, "head"))

    def _wrapped(self, first: str, words: str, *, style: str = "") -> Iterator[str]:
        """Wrap ``words`` behind ``first`` with a hanging indent."""
        room = max(self._width - len(first), 20)
        parts = [words]
        if self._width:
            parts = textwrap.wrap(words, width=room, break_long_words=False, break_on_hyphens=False) or [""]
        for at, part in enumerate(parts):
            yield (first if at == 0 else " " * len(first)) + self._style(part, style)

    def _style(self, words: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{words}\x1b[0m" if self._color and style and words else words
