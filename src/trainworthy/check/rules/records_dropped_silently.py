"""A reader drops what it cannot parse without counting.

What it finds:
    In a loop over lines or records: `json.loads` or another parser of the line, or `float` and `int` of its fields, in
    a `try` whose `except` only says `pass` or `continue`, or under `contextlib.suppress`; the parser may stand in a
    function of the file that is given the line. Also a function that parses a line and returns None for whatever fails,
    where a comprehension of the file leaves such None out.

Why:
    Half of the data may be gone, and training runs as if nothing had happened.

How sure:
    A hint: the handler does nothing else, the try holds a parser, and the function does not ask how many lines there
    are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.bindings import bindings_of, function_around, functions_of
from trainworthy.check.static.tree import nodes_of, unparsed

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
        names = set() if names and _is_counted(analysis, loop) else names
        for node in loop.body if names else ():
            for inner in [node, *getattr(node, "body", ())]:
                if isinstance(inner, ast.Try) and _parses(analysis, inner, names):
                    yield from _silent(analysis, inner)
                elif isinstance(inner, ast.With) and _parses(analysis, inner, names):
                    yield from _suppressed(analysis, inner)
    yield from _none_left_out(analysis)


def _is_counted(analysis: Analysis, loop: ast.For) -> bool:
    """Say whether a function asks how long that is which it loops over: to say how much was kept of it."""
    function = function_around(analysis.parents, loop)
    asked = nodes_of(function, ast.Call) if function is not None else []
    lengths = [one.args[0] for one in asked if called(one) == "len" and len(one.args) == 1]
    return isinstance(loop.iter, ast.Name) and any(unparsed(one) == loop.iter.id for one in lengths)


def _none_left_out(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that give None for a line which they cannot parse."""
    filtered = _filtered(analysis)
    for function in functions_of(analysis.nodes) if filtered else ():
        names = {one.arg for one in function.args.args if _RECORD.search(one.arg)}
        first = next((one for one in function.body if isinstance(one, ast.Try)), None)
        if function.name in filtered and first is not None and _parses(analysis, first, names):
            for handler in first.handlers:
                last = handler.body[0]
                none = isinstance(last, ast.Return) and (last.value is None or unparsed(last.value) == "None")
                if none:
                    yield _hit(_header(analysis, handler))


def _filtered(analysis: Analysis) -> set[str]:
    """Return the functions of whose results a comprehension takes those that are not None."""
    found: set[str] = set()
    for kind in (ast.ListComp, ast.GeneratorExp):
        for node in analysis.nodes.get(kind, ()):
            if isinstance(node, ast.ListComp | ast.GeneratorExp) and len(node.generators) == 1:
                part = node.generators[0]
                if any(unparsed(test) == f"{unparsed(part.target)} is not None" for test in part.ifs):
                    function = function_around(analysis.parents, node)
                    names = bindings_of(function) if function is not None else bindings_of(analysis.source.tree)
                    found |= {called(one) for one in names.written_out(part.iter) if isinstance(one, ast.Call)}
    return found


def _parses(analysis: Analysis, node: ast.Try | ast.With, names: set[str]) -> bool:
    """Say whether a parser is given the line; or, if what comes of it is kept, `float` or `int` are given a field."""
    calls = [one for statement in node.body for one in nodes_of(statement, ast.Call)]
    if any(_hands_to_parser(one, names) for one in calls):
        return True
    given = {called(one) for one in calls if any(isinstance(each, ast.Name) and each.id in names for each in one.args)}
    for function in functions_of(analysis.nodes) if given else ():
        arguments = {one.arg for one in function.args.args}
        if function.name in given and any(_hands_to_parser(one, arguments) for one in nodes_of(function, ast.Call)):
            return True
    kept = [one for one in calls if called(one) == "append"]
    return any(
        _reads(one, names) and any(called(inner) in _NUMBERS for inner in nodes_of(one, ast.Call)) for one in kept
    )


def _hands_to_parser(call: ast.Call, names: set[str]) -> bool:
    return called(call) in _PARSERS and isinstance(call.func, ast.Attribute) and _reads(call, names)


def _reads(node: ast.AST, names: set[str]) -> bool:
    return any(one.id in names for one in nodes_of(node, ast.Name))


def _silent(analysis: Analysis, node: ast.Try) -> Iterator[Hit]:
    for handler in node.handlers:
        if len(handler.body) == 1 and isinstance(handler.body[0], ast.Pass | ast.Continue):
            yield _hit(_header(analysis, handler))


def _header(analysis: Analysis, handler: ast.ExceptHandler) -> Place:
    place = analysis.place(handler)
    return place._replace(end_line=place.line, end_column=(place.column or 1) + len("except"))


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
