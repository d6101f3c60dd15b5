"""A parameter is initialised twice: the second time overwrites the first.

What it finds:
    Two initialisers on one tensor in one block of statements, `zeros_(layer.weight)` and `uniform_(layer.weight, ...)`,
    with nothing between them that reads it.

Why:
    The first has no effect. One of the two is mostly meant for the bias, which keeps what the layer's own constructor
    gave it.

How sure:
    The text of the tensor is the same in both, both write all of it, and nothing but initialisers is called between.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch.nn as nn

layer = nn.Linear(4, 2)
nn.init.zeros_(layer.weight)  # <- TW390
nn.init.uniform_(layer.weight, -0.1, 0.1)
"""

GOOD = """\
import torch.nn as nn

layer = nn.Linear(4, 2)
nn.init.zeros_(layer.bias)
nn.init.uniform_(layer.weight, -0.1, 0.1)
"""

_FUNCTIONS = frozenset(
    "uniform_ normal_ trunc_normal_ constant_ ones_ zeros_ eye_ dirac_ xavier_uniform_ xavier_normal_ kaiming_uniform_ "
    "kaiming_normal_ orthogonal_ sparse_ xavier_uniform xavier_normal kaiming_uniform kaiming_normal orthogonal".split()
)
_METHODS = frozenset({"zero_", "fill_", "uniform_", "normal_"})


@rule(code="TW390", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at blocks of statements."""
    if "torch" not in analysis.source.words or not analysis.source.words & {"init", *_METHODS}:
        return
    found = [one for one in analysis.nodes.get(ast.Expr, []) if isinstance(one, ast.Expr) and _written(one)]
    if len(found) < 2:
        return
    blocks = _blocks(analysis)
    for first in found:
        block = blocks.get(first, [])
        for statement in block[block.index(first) + 1 :] if first in block else []:
            target = _written(first)
            if _written(statement) == target:
                yield Hit(
                    place=analysis.place(first),
                    message=f"`{target}` is initialised again further down, which overwrites this",
                    evidence=(Evidence("the second time", analysis.place(statement)),),
                    fix="Remove one, or initialise what it was meant for.",
                )
            if _written(statement) == target or _may_touch(statement, target):
                break


def _blocks(analysis: Analysis) -> dict[ast.stmt, list[ast.stmt]]:
    found: dict[ast.stmt, list[ast.stmt]] = {}
    for kind in (ast.Module, ast.FunctionDef, ast.For, ast.If, ast.With):
        for node in analysis.nodes.get(kind, []):
            for block in (getattr(node, "body", []), getattr(node, "orelse", [])):
                found |= dict.fromkeys(block, block)
    return found


def _written(statement: ast.stmt) -> str:
    """Write the tensor that a statement initialises as a whole; "" if it does not."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return ""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    holder = unparsed(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if name in _FUNCTIONS and call.args and (holder == "init" or holder.endswith(".init") or not holder):
        return _tensor(call.args[0])
    if name in _METHODS and isinstance(call.func, ast.Attribute):
        return _tensor(call.func.value)
    return ""


def _tensor(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute) and node.attr == "data":
        node = node.value
    whole = isinstance(node, ast.Attribute) and not any(isinstance(one, ast.Call) for one in walk(node))
    return unparsed(node) if whole else ""


def _may_touch(statement: ast.stmt, target: str) -> bool:
    """Say whether a statement may read a tensor, or bind what it hangs on."""
    if _written(statement):
        return target in unparsed(statement)
    called = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    return called or not isinstance(statement, ast.Expr | ast.Assign) or target.partition(".")[0] in unparsed(statement)
