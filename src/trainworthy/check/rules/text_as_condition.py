"""A condition holds whatever the values are, since a text stands alone in it.

What it finds:
    `if mode == "train" or "val":`, which is true for every mode, and `assert (x.ndim == 2, "two axes")`, a pair that is
    never false.

Why:
    The branch is always taken: dropout, augmentation or gradients are on in every mode, and the check checks nothing.

How sure:
    Certain: a text that is not empty, or a pair, is true. A warning, since other values may be refused elsewhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch


def loader(data, mode):
    if mode == "train" or "val":  # <- TW866
        return torch.utils.data.DataLoader(data, shuffle=True)
    return torch.utils.data.DataLoader(data)
"""

GOOD = """\
import torch


def loader(data, mode):
    if mode in ("train", "val"):
        return torch.utils.data.DataLoader(data, shuffle=True)
    return torch.utils.data.DataLoader(data)
"""


@rule(code="TW866", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the tests of branches, loops and assertions."""
    for kind in (ast.If, ast.While, ast.IfExp, ast.Assert):
        for node in analysis.nodes.get(kind, ()):
            test = getattr(node, "test", None)
            if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
                alone = next((one for one in test.values if _is_text(one)), None)
                if alone is not None and any(isinstance(one, ast.Compare) for one in test.values):
                    yield Hit(
                        place=analysis.place(test),
                        message=f"`{unparsed(alone)}` alone is true, and so is the whole condition",
                        fix="Compare with each: x in (a, b).",
                    )
            elif isinstance(test, ast.Tuple) and test.elts:
                yield Hit(place=analysis.place(test), message="a pair is true, whatever stands in it")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)
