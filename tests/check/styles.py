"""The same program in other styles: what a rule finds must not depend on how a script is laid out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_OTHER_IMPORTS = {
    r"^(\s*)import torch(\s*(#.*)?)$": r"\1import torch as th\2",
    r"^(\s*)from torch import nn\b(?!,)": r"\1import torch.nn as nn",
    r"^(\s*)import torch\.nn\.functional as F\b": r"\1from torch.nn import functional as F",
}
_IMPORT = re.compile(r"(import|from) ")


def _body_starts(lines: list[str]) -> int:
    """Return the first line that is no import."""
    for number, line in enumerate(lines):
        if line.strip() and not _IMPORT.match(line) and not line.startswith("#"):
            return number
    return len(lines)


def _indented(lines: list[str], depth: int) -> list[str]:
    return ["    " * depth + line if line.strip() else line for line in lines]


def in_a_function(program: str) -> tuple[str, dict[int, int]]:
    """Put everything but the imports into a function that a main guard calls."""
    return _wrapped(program, ["def main():"], 1, ["", 'if __name__ == "__main__":', "    main()", ""])


def in_a_method(program: str) -> tuple[str, dict[int, int]]:
    """Put everything but the imports into a method of a class."""
    return _wrapped(program, ["class Experiment:", "    def run(self):"], 2, ["", "Experiment().run()", ""])


def under_a_guard(program: str) -> tuple[str, dict[int, int]]:
    """Put everything but the imports under a main guard."""
    return _wrapped(program, ['if __name__ == "__main__":'], 1, [""])


def with_other_names(program: str) -> tuple[str, dict[int, int]]:
    """Import torch under other names."""
    lines = program.split("\n")
    renamed = [_with_other_names(line) for line in lines]
    text = "\n".join(renamed)
    if "import torch as th" not in text:
        return program, {n: n for n in range(1, len(lines) + 1)}
    return text, {n: n for n in range(1, len(lines) + 1)}


def _with_other_names(line: str) -> str:
    if not _IMPORT.match(line.strip()):
        return re.sub(r"(?<![\w.\"'/])torch\.", "th.", line)
    for wanted, other in _OTHER_IMPORTS.items():
        line = re.sub(wanted, other, line)
    return line


def _wrapped(program: str, head: list[str], depth: int, tail: list[str]) -> tuple[str, dict[int, int]]:
    lines = program.rstrip("\n").split("\n")
    start = _body_starts(lines)
    text = [*lines[:start], *head, *_indented(lines[start:], depth), *tail]
    where = {n: n if n <= start else n + len(head) for n in range(1, len(lines) + 1)}
    return "\n".join(text), where


STYLES: dict[str, Callable[[str], tuple[str, dict[int, int]]]] = {
    "function": in_a_function, "method": in_a_method, "guard": under_a_guard, "names": with_other_names,
}  # fmt: skip


def as_notebook(program: str) -> tuple[str, dict[int, tuple[int, int]]]:
    """Cut a program into cells where a top-level block ends after an empty line; lines are mapped to cell and line."""
    lines = program.rstrip("\n").split("\n")
    cells: list[list[str]] = [[]]
    where: dict[int, tuple[int, int]] = {}
    for number, line in enumerate(lines, start=1):
        top = bool(line) and not line[0].isspace() and not line.startswith((")", "]", "}", "else", "elif", "except"))
        if top and cells[-1] and not cells[-1][-1].strip():
            cells.append([])
        cells[-1].append(line)
        where[number] = (len(cells), len(cells[-1]))
    sources = [{"cell_type": "code", "source": [f"{line}\n" for line in cell]} for cell in cells]
    return json.dumps({"cells": sources}), where
