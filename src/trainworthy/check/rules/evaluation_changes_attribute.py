"""One evaluation changes an attribute for good.

What it finds:
    In `forward`, under `if not self.training:`, an attribute of the module is set, and the branch for training does not
    set it back.

Why:
    The attribute keeps the value: after the first validation, training goes on with it. With a dropout rate, there
    is no dropout any more.

How sure:
    Certain that the value stays. Only numbers and booleans that are written out are reported; caches are not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk

BAD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            self.p = 0.0  # <- TW370
        return nn.functional.dropout(x, self.p, self.training)
"""

GOOD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        p = self.p if self.training else 0.0
        return nn.functional.dropout(x, p, self.training)
"""


@rule(code="TW370", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at branches on the mode in methods called forward."""
    if "training" not in analysis.source.words:
        return
    for cls in analysis.classes:
        for name, member in cls.members.items():
            node = getattr(member, "node", None)
            if name == "forward" and isinstance(node, ast.FunctionDef):
                yield from _in_forward(analysis, node)


def _in_forward(analysis: Analysis, forward: ast.FunctionDef) -> Iterator[Hit]:
    stores: dict[str, int] = {}  # how often each attribute is set in the whole function
    for one in walk(forward):
        if isinstance(one, ast.Assign):
            for attr in _set_on_self(one):
                stores[attr] = stores.get(attr, 0) + 1
    for one in walk(forward):
        if not isinstance(one, ast.If):
            continue
        for statement in _evaluation_branch(one):
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                for attr in _set_on_self(statement):
                    if isinstance(statement.value.value, int | float) and stores[attr] == 1:
                        yield Hit(
                            place=analysis.place(statement),
                            message=f"`self.{attr}` is {statement.value.value} from the first evaluation on, "
                            f"in training "
                            "too",
                            fix="Use a local variable.",
                        )


def _evaluation_branch(node: ast.If) -> list[ast.stmt]:
    test = node.test
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return node.body if _is_mode(test.operand) else []
    return node.orelse if _is_mode(test) else []


def _is_mode(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "training" and getattr(node.value, "id", "") == "self"


def _set_on_self(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
            yield target.attr
