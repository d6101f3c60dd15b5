"""A reader drops what it cannot parse without counting.

What it finds:
    In a loop over lines: `try` around `json.loads` or another parser of the line, and an `except` that only says
    `pass` or `continue`.

Why:
    Half of the data may be gone, and training runs as if nothing had happened.

How sure:
    A hint: the handler does nothing else, and the try holds a parser.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, walk

BAD = """\
import json

import torch

records = []
for line in open("data.jsonl"):
    try:
        records.append(json.loads(line))
    except ValueError:  # <- TW502
        pass
"""

GOOD = """\
import json

import torch

records, bad = [], 0
for line in open("data.jsonl"):
    try:
        records.append(json.loads(line))
    except ValueError:
        bad += 1
"""


_PARSERS = ("loads", "literal_eval")


@rule(code="TW502", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at handlers within loops over lines."""
    if not analysis.source.words.intersection(_PARSERS):
        return
    for loop in analysis.nodes.get(ast.For, ()):
        if not isinstance(loop, ast.For):
            continue
        names = {one.id for one in nodes_of(loop.target, ast.Name) if "line" in one.id.lower()}
        for node in loop.body:
            for inner in [node, *getattr(node, "body", ())]:
                if isinstance(inner, ast.Try) and _parses(inner, names):
                    yield from _silent(analysis, inner)


def _parses(node: ast.Try, names: set[str]) -> bool:
    return any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and one.func.attr in _PARSERS
        and any(isinstance(name, ast.Name) and name.id in names for name in walk(one))
        for statement in node.body
        for one in walk(statement)
    )


def _silent(analysis: Analysis, node: ast.Try) -> Iterator[Hit]:
    for handler in node.handlers:
        if len(handler.body) == 1 and isinstance(handler.body[0], ast.Pass | ast.Continue):
            place = analysis.place(handler)
            yield Hit(
                place=place._replace(end_line=place.line, end_column=(place.column or 1) + len("except")),
                message="records that do not parse are dropped without a trace",
                fix="Count them and say how many.",
            )
