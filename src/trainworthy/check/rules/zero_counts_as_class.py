"""What does not match is set to 0, and 0 is counted as a class.

What it finds:
    `torch.histc(target * (output == target), min=0, ...)` and `bincount` of such a product, directly or under a name.

Why:
    All places that do not match are counted as matches of class 0. Its score is too good, and the mean with it.

How sure:
    Certain where 0 is a class: the count begins at 0. Silent if it begins at 1.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.masks import is_zero
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch


def hits_of(output, target, classes):
    matched = target * (output == target)
    return torch.histc(matched.float(), bins=classes, min=0, max=classes - 1)  # <- TW273
"""

GOOD = """\
import torch


def hits_of(output, target, classes):
    matched = torch.where(output == target, target, -1)
    return torch.histc(matched.float(), bins=classes, min=0, max=classes - 1)
"""


_KEEP = frozenset("view reshape flatten ravel float long int to type astype cpu numpy cuda detach contiguous".split())


@rule(code="TW273", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is counted by class."""
    if not analysis.source.words & {"torch", "numpy"} or not analysis.source.words & {"histc", "bincount"}:
        return
    for function in functions_of(analysis.nodes):
        names = bindings_of(function)
        for call in names.calls:
            counted = _counted(analysis.source, call)
            product = _product(names, counted) if counted is not None else None
            if product is not None:
                yield Hit(
                    place=analysis.place(call),
                    message="what does not match is counted as class 0",
                    evidence=(Evidence("it is set to 0 here", analysis.place(product)),),
                    fix="Select by the comparison, or set the others to -1.",
                )


def _counted(source: Source, call: ast.Call) -> ast.expr | None:
    """Return what is counted from 0 on."""
    name = getattr(call.func, "attr", "")
    of_library = isinstance(call.func, ast.Attribute) and bool(library_of(source, call.func.value))
    given = list(call.args) if of_library else [getattr(call.func, "value", None), *call.args]
    if name == "bincount":
        return given[0] if given and isinstance(given[0], ast.expr) else None
    begin = next((one.value for one in call.keywords if one.arg == "min"), given[2] if len(given) > 2 else None)
    if name == "histc" and begin is not None and is_zero(begin) and isinstance(given[0], ast.expr):
        return given[0]
    return None


def _product(names: Bindings, node: ast.expr, depth: int = 3) -> ast.BinOp | None:
    """Return the product of a value with the answer whether it equals another."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _KEEP:
        node = node.func.value
    if isinstance(node, ast.Name) and depth:
        value = names.value_before(node)
        return _product(names, value, depth - 1) if value is not None else None
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return None
    for one, other in ((node.left, node.right), (node.right, node.left)):
        asked = next((n for n in nodes_of(other, ast.Compare)), None)
        if asked is not None and isinstance(asked.ops[0], ast.Eq):
            sides = {unparsed(asked.left), unparsed(asked.comparators[0])}
            if unparsed(one) in sides:
                return node
    return None
