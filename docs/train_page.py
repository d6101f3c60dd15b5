"""The table of options in ``train.md``, from the docstring of ``TrainOptions``."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from trainworthy.train.recipe import TrainOptions

PATH = Path(__file__).resolve().parent / "train.md"
MARK, END = "<!-- options -->", "<!-- /options -->"


def page() -> dict[Path, str]:
    """Put the table between the marks of the page."""
    text = PATH.read_text(encoding="utf-8")
    start, end = text.index(MARK), text.index(END)
    return {PATH: text[:start] + MARK + "\n" + table() + text[end:]}


def table() -> str:
    """Return one row for each option: key, type, default, meaning."""
    meanings = descriptions()
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(TrainOptions):
        kind = re.sub(r"Literal\[(.*?)\]", r"\1", str(field.type)).replace("|", "or").replace('"', "`")
        default = field.default if isinstance(field.default, str) else repr(field.default)
        meaning = meanings[field.name].replace("``", "`").replace("|", "\\|")
        lines.append(f"| `train.{field.name}` | {kind} | `{default}` | {meaning} |")
    return "\n".join(lines) + "\n"


def descriptions() -> dict[str, str]:
    """Return what the docstring says of each attribute."""
    section = inspect.getdoc(TrainOptions).partition("Attributes:\n")[2]  # type: ignore[union-attr]
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        match = re.fullmatch(r"    (\w+): (.*)", line)
        if match:
            name, found[match[1]] = match[1], match[2]
        elif line.startswith("        "):
            found[name] += " " + line.strip()
    return found
