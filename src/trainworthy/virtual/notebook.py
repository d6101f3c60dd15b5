"""The code cells of a Jupyter notebook, without what only a notebook understands."""

from __future__ import annotations

import ast
import json
import linecache
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from trainworthy.errors import UsageError

# Cell magics whose cell is Python all the same; the others (%%bash, %%html, ...) are left out.
_PYTHON_CELLS = frozenset({"time", "timeit", "capture", "prun"})
_ASSIGNED = re.compile(r"^(\s*)([\w.,\s]+?=)\s*[%!].*$")
_MAGIC = re.compile(r"^(\s*)([%!]|\w[\w.]*\?{1,2}\s*$|\?)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell as it will run: plain Python with the line numbers of the cell."""

    filename: str
    source: str


@dataclass(slots=True)
class Notebook:
    """The cells to run, and the lines that were left out."""

    cells: list[Cell] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read_notebook(path: str | Path) -> Notebook:
    """Read the code cells of ``path``.

    Raises:
        UsageError: If the file is not a notebook.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        cells = [cell for cell in raw["cells"] if cell["cell_type"] == "code"]
        texts = [_text(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "The file is not a Jupyter notebook (format 4).",
            where=str(path),
            fix="Open it in Jupyter and save it again, or pass a Python script.",
        ) from error
    notebook = Notebook()
    for number, text in enumerate(texts, start=1):
        name = f"<cell {number}>"
        source = _without_magics(text, name, notebook.skipped)
        if source.strip():
            notebook.cells.append(Cell(name, source))
    return notebook


def compile_cell(cell: Cell) -> CodeType:
    """Compile a cell and let tracebacks show its lines."""
    lines = cell.source.splitlines(keepends=True)
    linecache.cache[cell.filename] = (len(cell.source), None, lines, cell.filename)
    code: CodeType = compile(ast.parse(cell.source, cell.filename), cell.filename, "exec")
    return code


class Shell:
    """What ``get_ipython()`` returns in a rehearsed notebook: accepts everything, does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def _text(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _without_magics(text: str, name: str, skipped: list[str]) -> str:
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is not None and lines[first].startswith("%%"):
        words = lines[first][2:].split()
        skipped.append(f"{name}:{first + 1}: {lines[first].strip()}")
        if not words or words[0] not in _PYTHON_CELLS:
            return ""
        lines[first] = ""
    return "\n".join(_plain_lines(lines, name, skipped))


def _plain_lines(lines: list[str], name: str, skipped: list[str]) -> list[str]:
    if _parses("\n".join(lines)):
        return lines  # a line of a string may well begin with % or !
    out, continued = [], False
    for number, line in enumerate(lines, start=1):
        assigned = _ASSIGNED.match(line)
        magic = _MAGIC.match(line)
        if continued:
            replacement, continued = "", line.rstrip().endswith("\\")
        elif assigned:
            replacement = f"{assigned[1]}{assigned[2]} []"
        elif magic:
            replacement = f"{magic[1]}pass"
        else:
            out.append(line)
            continue
        if assigned or magic:
            skipped.append(f"{name}:{number}: {line.strip()}")
            continued = line.rstrip().endswith("\\")
        out.append(replacement)
    return out


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
