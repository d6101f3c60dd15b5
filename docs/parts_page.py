"""The page of parts, from the docstrings in ``src/trainworthy/parts``; nothing is imported, torch neither."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PARTS = DOCS.parent / "src" / "trainworthy" / "parts"
_SECTIONS = {
    "module": "Modules", "models.alexnet": "Models: image classification", "models.unet": "Models: segmentation",
    "models.dcgan": "Models: generation of images", "models.transformer": "Models: sequences",
    "models.mlp": "Models: tables and proteins", "attention": "Attention and masks", "losses.cross_entropy": "Losses",
    "initialisation": "Initialisation and accumulation", "data.readers": "Data", "metrics": "Metrics and neighbours",
    "search": "Search",
}  # fmt: skip
_IMPORTS = {"torch": "import torch", "nn": "from torch import nn", "np": "import numpy as np", "math": "import math"}
_HEAD = """\
# Parts

What recipes are made of. Each part is small and stands alone: take one into a loop of your own. All names come from
`trainworthy.parts`, and nothing is imported before a name is used. Models have the parameter counts that their papers
or their best known code publish, and every width and depth can be made small enough for a CPU. The examples run in the
tests; shapes, sources and errors stand in the docstrings (`help(trainworthy.parts.UNet)`)."""


def page() -> dict[Path, str]:
    """Build docs/parts.md."""
    lines, homes = [_HEAD], _modules()
    for module, names in homes.items():
        if module in _SECTIONS:
            lines += ["", f"## {_SECTIONS[module]}"]
        lines += ["", *_module(module, names, {name for many in homes.values() for name in many})]
    return {DOCS / "parts.md": "\n".join(lines) + "\n"}


def _modules() -> dict[str, list[str]]:
    tree = ast.parse((PARTS / "__init__.py").read_text(encoding="utf-8"))
    table = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES"
    )
    return {module: names.split() for module, names in ast.literal_eval(table).items()}


def _module(module: str, names: list[str], every: set[str]) -> Iterator[str]:
    tree = ast.parse((PARTS / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    yield f"### `{module}`"
    yield ""
    yield _plain(ast.get_docstring(tree) or "")
    yield ""
    told, examples = _documented(tree, names), list[str]()
    for name, text in told.items():
        yield f"- `{name}`: {_plain(text.splitlines()[0])}"
        example = _example(text)
        examples += ["", *example] if example and examples else example
    yield ""
    yield "```python"
    yield from _imports("\n".join(examples), every)
    yield from examples
    yield "```"


def _documented(tree: ast.Module, names: list[str]) -> dict[str, str]:
    """Return the docstrings of classes, functions and constants, in the order of the file."""
    found = {}
    body = [inner for node in tree.body for inner in (node.orelse if isinstance(node, ast.If) else [node])]
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in names:
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in names and isinstance(after, ast.Expr):
            found[ast.unparse(node.targets[0])] = ast.literal_eval(after.value)
    return found


def _example(text: str) -> list[str]:
    """Return the lines from the first prompt to the end of what is printed."""
    lines = text.splitlines()
    start = next((index for index, line in enumerate(lines) if line.startswith(">>>")), None)
    if start is None:
        return []
    end = next((index for index in range(start, len(lines)) if not lines[index].strip()), len(lines))
    return [line for line in lines[start:end] if line not in {f">>> {text}" for text in _IMPORTS.values()}]


def _imports(example: str, every: set[str]) -> list[str]:
    used = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", example))
    parts = sorted(used & every - set(re.findall(r"(\w+) = ", example)))
    lines = [f">>> {text}" for name, text in _IMPORTS.items() if name in used and f">>> {text}" not in example]
    return [*lines, f">>> from trainworthy.parts import {', '.join(parts)}"]


def _plain(text: str) -> str:
    """Turn the marks of docstrings into those of Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")
