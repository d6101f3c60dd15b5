"""A command-line option has `type=bool`.

What it finds:
    `parser.add_argument(..., type=bool)`.

Why:
    `bool("False")` is True: every text but the empty one turns it on, so `--flag False` turns it on, too.

How sure:
    Certain.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Ref

BAD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--shuffle", type=bool, default=True)  # <- TW809
"""

GOOD = """\
import argparse

import torch

parser = argparse.ArgumentParser()
parser.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
"""


@rule(code="TW809", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at options."""
    for call in once_per_place(analysis.method_calls("add_argument")):
        kind = call.keywords.get("type")
        if isinstance(kind, Ref) and kind.name == "builtins.bool":
            yield Hit(
                place=analysis.place(call.node, call.context),
                message='`type=bool` turns every text on, "False" included',
                fix="Use `action=argparse.BooleanOptionalAction`.",
            )
