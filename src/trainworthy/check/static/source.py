"""One file as text and tree: encodings, notebooks, and what is wrong with files that cannot be read."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from trainworthy.check.finding import Place

MAX_BYTES = 4 * 2**20  # larger files are generated data, not programs that somebody wrote
_WORD = re.compile(r"[^\W\d]\w*")
_COMMENT_LINE = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
# Packages register these names for UTF-8 with syntax that Python has had itself since 3.6.
_UTF8_UNDER_ANOTHER_NAME = re.compile(rb"\A((?:[^\n]*\n)?[ \t]*#[^\n]*?coding[:=][ \t]*)future[-_]fstrings")
_MAGIC = ("%", "!", "?")
_COMMANDS = frozenset("cat cd clear cp ldir ls mkdir mv pip pwd rm rmdir".split())
# What a cell begins with that shows what to type in a terminal, and what a line of Python looks like.
_TYPED = _COMMANDS | frozenset("apt apt-get bash conda curl docker docker-compose export git pip3 python python3 sh "
                               "source sudo wget".split())  # fmt: skip
_PYTHON = re.compile(r"\s*(import \w|from \S+ import |def \w+\(|class \w+[(:]|print\b|[\w.]+ = |\w+\()")
_CELL_MAGIC_PYTHON = ("%%time", "%%timeit", "%%capture", "%%prun")


Found = TypeVar("Found")


class UnreadableError(Exception):
    """A file cannot be checked; the message says why, ``line`` where."""

    def __init__(self, message: str, *, line: int = 1, column: int | None = None, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.kind = kind


@dataclass(eq=False, slots=True)
class Source:
    """A file.

    Attributes:
        path: As the user would write it.
        text: The program; the cells of a notebook one after the other, magics blanked.
        lines: Its lines.
        tree: What it parses to.
        problems: Cells of a notebook that do not parse: line and message; they are left out of the text.
        left_out: What is written in these.
        cells: For each line of a notebook: its cell and the line in it, both from 1; empty for other files.
        kept: What was found of it alone, by the function that found it.
    """

    path: str
    text: str
    lines: list[str]
    tree: ast.Module
    cells: list[tuple[int, int]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    left_out: str = ""
    _words: frozenset[str] | None = None
    _code: str | None = None
    kept: dict[object, Any] = field(default_factory=dict)

    @property
    def words(self) -> frozenset[str]:
        """Every word of the program outside of comment lines: a cheap way to say that a name occurs nowhere."""
        if self._words is None:
            self._words = frozenset(_WORD.findall(self.code))
        return self._words

    @property
    def code(self) -> str:
        """The text without lines that are only a comment."""
        if self._code is None:
            self._code = _COMMENT_LINE.sub("", self.text)
        return self._code

    def place(self, node: ast.AST) -> Place:
        """Return the span of a node."""
        line = getattr(node, "lineno", 1)
        end_line = getattr(node, "end_lineno", None) or line
        column = self._column(line, getattr(node, "col_offset", 0))
        end_column = self._column(end_line, getattr(node, "end_col_offset", None) or 0)
        return self.span(line, column, end_line, end_column)

    def span(self, line: int, column: int | None = None, end_line: int | None = None, end: int | None = None) -> Place:
        """Return a span by its lines in ``text``."""
        if not self.cells:
            return Place(self.path, line, column, end_line or line, end)
        cell, inner = self.cells[line - 1]
        last = self.cells[(end_line or line) - 1][1]
        return Place(self.path, inner, column, last, end, cell)

    def text_line(self, place: Place) -> int:
        """Return the line in ``text`` of a place."""
        if place.cell is None:
            return place.line
        return self.cells.index((place.cell, place.line)) + 1

    def segment(self, node: ast.AST) -> str:
        """Return the text of a node, as ``ast.get_source_segment`` does, which goes through the whole file for it."""
        line, end_line = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
        if line is None or end_line is None:
            return ""
        rows = self.lines[line - 1 : end_line]
        if rows:
            rows[-1] = rows[-1][: self._column(end_line, getattr(node, "end_col_offset", 0)) - 1]
            rows[0] = rows[0][self._column(line, getattr(node, "col_offset", 0)) - 1 :]
        return "\n".join(rows)

    def _column(self, line: int, offset: int) -> int:
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return offset + 1 if text.isascii() else len(text.encode()[:offset].decode(errors="ignore")) + 1


def kept_with_source(find: Callable[[Source], Found]) -> Callable[[Source], Found]:
    """Find something of a file once: every file that imports it asks for the same; it goes with the file."""

    @wraps(find)
    def kept(source: Source) -> Found:
        if find not in source.kept:
            source.kept[find] = find(source)
        found: Found = source.kept[find]
        return found

    return kept


def read_source(path: str, data: bytes | None = None) -> Source:
    """Read and parse a file.

    Raises:
        UnreadableError: If it cannot be read or parsed; says why in one line.
    """
    if data is None:
        data = _read_bytes(path)
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"{len(data) / 2**20:.0f} MiB: too large to be a program; left out", kind="too-large")
    if path.endswith(".ipynb"):
        text, cells, problems, left_out = _notebook(data)
        source = parse_source(path, text, cells)
        source.problems, source.left_out = problems, left_out
        return source
    return parse_source(path, _decode(data))


def parse_source(path: str, text: str, cells: list[tuple[int, int]] | None = None) -> Source:
    """Parse a program.

    Raises:
        UnreadableError: If it is no Python 3.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like in the files of others
            tree = ast.parse(text)
    except SyntaxError as error:
        raise UnreadableError(
            _syntax_message(error, text), line=_line_of(error, text), column=error.offset, kind="syntax"
        ) from error
    except (RecursionError, MemoryError) as error:
        raise UnreadableError("nested too deeply to be parsed", kind="too-deep") from error
    except ValueError as error:  # null bytes, surrogates
        raise UnreadableError(f"not text: {error}", kind="unreadable") from error
    return Source(path=path, text=text, lines=_split_lines(text), tree=tree, cells=cells or [])


def _split_lines(text: str) -> list[str]:
    # str.splitlines also splits at form feeds and other characters that are no line ends to Python.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _read_bytes(path: str) -> bytes:
    try:
        file = Path(path)
        if file.stat().st_size > MAX_BYTES:
            size = file.stat().st_size / 2**20
            raise UnreadableError(f"{size:.0f} MiB: too large to be a program; left out", kind="too-large")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error


def _decode(data: bytes) -> str:
    data = _UTF8_UNDER_ANOTHER_NAME.sub(rb"\1utf-8", data, count=1)
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except SyntaxError as error:
        raise UnreadableError(f"unknown encoding: {error.msg}", kind="encoding") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"not valid {error.encoding} text", line=line, kind="encoding") from error
    except LookupError as error:
        raise UnreadableError(f"unknown encoding: {error}", kind="encoding") from error


def _syntax_message(error: SyntaxError, text: str) -> str:
    line = _line_of(error, text)
    lines = _split_lines(text)
    shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    if shown.startswith(("print ", "exec ")) or (shown.startswith("except ") and "," in shown):
        return f"Python 2: {error.msg}"
    return f"does not parse with Python {sys.version_info.major}.{sys.version_info.minor}: {error.msg}"


def _line_of(error: SyntaxError, text: str) -> int:
    return max(1, min(error.lineno or 1, text.count("\n") + 1))


def _notebook(data: bytes) -> tuple[str, list[tuple[int, int]], list[tuple[int, str]], str]:
    """Return the cells as one text, where each line came from, and what does not parse, with its text."""
    try:
        book = json.loads(data)
        raw = book["cells"] if "cells" in book else [c for sheet in book["worksheets"] for c in sheet["cells"]]
        cells = [cell for cell in raw if cell.get("cell_type") == "code"]
        texts = ["".join(cell.get("source", cell.get("input", ""))) for cell in cells]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"not a notebook: {type(error).__name__}", kind="notebook") from error
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    problems: list[tuple[int, str]] = []
    left_out: list[str] = []
    for number, text in enumerate(texts, start=1):
        kept, problem = _cell_lines(text)
        if problem is not None:
            problems.append((len(lines) + problem[0], problem[1]))
            left_out.append(text)
        lines += kept
        places += [(number, inner) for inner in range(1, len(kept) + 1)]
    return "\n".join(lines), places or [(1, 1)], problems, "\n".join(left_out)


def _cell_lines(cell: str) -> tuple[list[str], tuple[int, str] | None]:
    """Return a cell's lines, blanked where only IPython understands them, or all if it does not parse."""
    lines = _split_lines(cell)
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("%%") and not first.startswith(_CELL_MAGIC_PYTHON):
        return [""] * len(lines), None
    plain = _without_indent(lines)
    for text in (lines, _without_magics(plain), [_without_command(line) for line in _without_magics(plain)]):
        try:
            parse_source("cell", "\n".join(text))
            return text, None
        except UnreadableError as error:
            problem = (error.line, error.message)
    return [""] * len(lines), None if _is_for_a_terminal(lines) else problem


def _is_for_a_terminal(lines: list[str]) -> bool:
    """Say whether a cell that is no Python shows what to type elsewhere: it begins with a command, and imports nothing.

    >>> [_is_for_a_terminal([one]) for one in ("$ python train.py", "docker-compose up", "print 'a'", "git = = 1")]
    [True, True, False, False]
    """
    first = next((line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")), [""])
    is_command = first[0] in _TYPED and len(first) > 1 and first[1][0] not in "=.([,:"
    return (first[0] == "$" or is_command) and not any(_PYTHON.match(line) for line in lines)


def _without_indent(lines: list[str]) -> list[str]:
    """Take away what the first line is indented by, as IPython does."""
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    return [line.removeprefix(indent) for line in lines]


def _without_command(line: str) -> str:
    """Blank what IPython takes for a command of the shell without a sign before it: `ls -l file.txt`."""
    words = line.split()
    is_one = bool(words) and words[0] in _COMMANDS and (len(words) == 1 or words[1][0] not in "=.([,:")
    return "pass" if is_one else line


def _without_magics(lines: list[str]) -> list[str]:
    kept: list[str] = []
    inside = False  # of a magic that goes on after a backslash
    for line in lines:
        kept.append("" if inside else _without_magic(line))
        inside = line.rstrip().endswith("\\") and (inside or line.lstrip().startswith(_MAGIC))
    return kept


def _without_magic(line: str) -> str:
    bare = line.lstrip()
    indent = line[: len(line) - len(bare)]
    if bare.startswith(_MAGIC):
        return f"{indent}pass"
    name, equals, value = bare.partition("=")
    if equals and value.strip().startswith(("!", "%")) and name.strip().isidentifier():
        return f"{indent}{name.strip()} = None"
    if bare.rstrip().endswith("?") and not bare.startswith("#"):
        return f"{indent}pass"
    return line
