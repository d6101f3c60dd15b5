"""A reader drops what it cannot parse without counting.

What it finds:
    In a loop over lines or records: `json.loads` or another parser of the line, or `float` and `int` of its fields, in
    a `try` whose `except` only says `pass` or `continue`, or under `contextlib.suppress`.

Why:
    Half of the data may be gone, and training runs as if nothing had happened.

How sure:
    A hint: the handler does nothing else, and the try holds a parser.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.tree import nodes_of

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
_NUMBERS = ("float", "int")
_RECORD = re.compile(r"line|record|^row$", re.IGNORECASE)


@rule(code="TW502", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at handlers within loops over lines."""
    if not analysis.source.words.intersection((*_PARSERS, *_NUMBERS)):
        return
    for loop in analysis.nodes.get(ast.For, ()):
        if not isinstance(loop, ast.For):
            continue
        names = {one.id for one in nodes_of(loop.target, ast.Name) if _RECORD.search(one.id)}
        for node in loop.body if names else ():
            for inner in [node, *getattr(node, "body", ())]:
                if isinstance(inner, ast.Try) and _parses(inner, names):
                    yield from _silent(analysis, inner)
                elif isinstance(inner, ast.With) and _parses(inner, names):
                    yield from _suppressed(analysis, inner)


def _parses(node: ast.Try | ast.With, names: set[str]) -> bool:
    """Say whether a parser is given the line; or, if what comes of it is kept, `float` or `int` are given a field."""
    calls = [one for statement in node.body for one in nodes_of(statement, ast.Call)]
    if any(called(one) in _PARSERS and isinstance(one.func, ast.Attribute) and _reads(one, names) for one in calls):
        return True
    kept = [one for one in calls if called(one) == "append"]
    return any(
        _reads(one, names) and any(called(inner) in _NUMBERS for inner in nodes_of(one, ast.Call)) for one in kept
    )


def _reads(node: ast.AST, names: set[str]) -> bool:
    return any(one.id in names for one in nodes_of(node, ast.Name))


def _silent(analysis: Analysis, node: ast.Try) -> Iterator[Hit]:
    for handler in node.handlers:
        if len(handler.body) == 1 and isinstance(handler.body[0], ast.Pass | ast.Continue):
            place = analysis.place(handler)
            yield _hit(place._replace(end_line=place.line, end_column=(place.column or 1) + len("except")))


def _suppressed(analysis: Analysis, node: ast.With) -> Iterator[Hit]:
    for item in node.items:
        if called(item.context_expr) == "suppress":
            yield _hit(analysis.place(item.context_expr))


def _hit(place: Place) -> Hit:
    return Hit(
        place=place,
        message="records that do not parse are dropped without a trace",
        fix="Count them and say how many.",
    )
