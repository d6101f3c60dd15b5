"""A command-line flag stores the value that the option has anyway.

What it finds:
    `add_argument("--flag", action="store_true", default=True)`, and `store_false` with a default of False; the default
    may also stand in `set_defaults`.

Why:
    With the flag and without it, the option is the same: it cannot be turned off, or on.

How sure:
    Certain that the flag changes nothing. Silent if another option of the file has the same `dest`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.options import destination
from trainworthy.check.static.queries import once_per_place, receiver

BAD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--no-shuffle", action="store_false", default=False)  # <- TW810
"""

GOOD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--no-shuffle", dest="shuffle", action="store_false", default=True)
"""

_STORED = {"store_true": True, "store_false": False}


@rule(code="TW810", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at options without a value."""
    options = list(once_per_place(analysis.method_calls("add_argument")))
    names = [destination(one) for one in options]
    for call, name in zip(options, names, strict=True):
        stored = _STORED.get(str(call.constant(None, "action")))
        if stored is None or name is None or names.count(name) > 1:
            continue
        default, where = _default(analysis, call, name)
        if default is stored:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{name}` is {stored} with this flag and without it",
                evidence=() if where is None else (Evidence("its default", analysis.place(where, call.context)),),
                fix="Use `action=argparse.BooleanOptionalAction`, or the other value as default.",
            )


def _default(analysis: Analysis, call: Call, name: str) -> tuple[object, ast.AST | None]:
    """Return an option's default and where it stands if that is elsewhere; Ellipsis if none is written."""
    for one in analysis.method_calls("set_defaults"):
        if receiver(one) == receiver(call) and name in one.keywords:
            return one.constant(None, name), one.node
    return call.constant(None, "default"), None
