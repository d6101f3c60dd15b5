"""A result is stored under another condition than the one it was made under.

What it finds:
    `if self.scales: x = s * x` followed by `if self.shifts: data["y"] = b + x` as the last that is done with `x`:
    without shifts the scaled value is made and goes nowhere.

Why:
    One of two settings only has an effect if the other one is on.

How sure:
    The two branches follow each other and do not ask the same, the second holds the only use of the value from there
    on, and does to it what the first does: both are sums or products with it.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import bindings_of, functions_around
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


class Scale(torch.nn.Module):
    def __init__(self, scales=None, shifts=None):
        super().__init__()
        self.scales, self.shifts = scales, shifts

    def forward(self, data):
        x = data["energy"]
        if self.scales is not None:
            x = self.scales * x  # <- TW884
        if self.shifts is not None:
            data["total"] = self.shifts + x
        return data
"""

GOOD = """\
import torch


class Scale(torch.nn.Module):
    def __init__(self, scales=None, shifts=None):
        super().__init__()
        self.scales, self.shifts = scales, shifts

    def forward(self, data):
        x = data["energy"]
        if self.scales is not None:
            x = self.scales * x
        if self.shifts is not None:
            x = self.shifts + x
        data["total"] = x
        return data
"""


@rule(code="TW884", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at pairs of neighbouring branches."""
    if "torch" not in analysis.source.words:
        return
    pairs = [pair for kind in (ast.FunctionDef, ast.For, ast.With, ast.If)
             for one in analysis.nodes.get(kind, []) for pair in _pairs(getattr(one, "body", []))]  # fmt: skip
    for node in functions_around(analysis.nodes, [one.lineno for one, _, _ in pairs]) if pairs else ():
        names = bindings_of(node)
        for first, second, name in pairs:
            if not node.lineno < first.lineno <= (node.end_lineno or 0) or names.opaque:
                continue
            if any(one.lineno > (second.end_lineno or 0) for one in names.reads[name]) or _is_in_a_loop(node, first):
                continue
            yield Hit(
                place=analysis.source.place(first),
                message=f"`{name}` is made here and only stored if another condition holds, too",
                evidence=(Evidence("it is stored here", analysis.source.place(second)),),
                fix="Store it outside of that branch.",
            )


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[ast.Assign, ast.Assign, str]]:
    """Yield the last statement of a branch and the only one of the next, if that stores what the first changes."""
    for first, second in itertools.pairwise(body):
        if not isinstance(first, ast.If) or not isinstance(second, ast.If) or first.orelse or second.orelse:
            continue
        if _asks_that_too(second.test, first.test):
            continue
        made, stored = first.body[-1], second.body[0]
        if len(second.body) > 1 or not isinstance(made, ast.Assign) or not isinstance(stored, ast.Assign):
            continue
        name = made.targets[0].id if isinstance(made.targets[0], ast.Name) else ""
        kept = isinstance(stored.targets[0], ast.Attribute | ast.Subscript)
        if name and kept and _works_on(made.value, name) and _works_on(stored.value, name):
            yield made, stored, name


def _asks_that_too(test: ast.expr, other: ast.expr) -> bool:
    """Say whether a condition is another one, or that and more."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    return any(unparsed(one) == unparsed(other) for one in parts)


def _works_on(value: ast.expr, name: str) -> bool:
    """Say whether a value is a sum or product with a name."""
    if not isinstance(value, ast.BinOp):
        return False
    return any(isinstance(one, ast.Name) and one.id == name for one in walk(value))


def _is_in_a_loop(function: ast.AST, node: ast.AST) -> bool:
    """Say whether a statement stands in a loop, whose next turn may read what it binds."""
    return any(isinstance(one, ast.For | ast.While | ast.AsyncFor) and node in walk(one) for one in walk(function))
