"""A value is computed and overwritten before anything reads it.

What it finds:
    `h = self.norm(x)` followed by `h = self.layer(x)`: the first result is lost, and the second line reads what came
    before it. Also `if smooth: criterion = SmoothedLoss()` followed by `criterion = nn.CrossEntropyLoss()`: an `else`
    is missing.

Why:
    One step of the network, of the loss or of the augmentation has no effect.

How sure:
    Both statements stand in one block, nothing between them mentions the name, and the second is not made of it. The
    first is computed from something that the second reads as well. Silent where the same is computed twice, as for a
    measurement, for names that begin with an underscore, and for `torch.zeros` and the like, which only stand in for
    what comes. A warning if the result of a layer of `self` is lost, a hint otherwise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import nodes_of, unparsed, variables

BAD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layer = nn.Linear(width, width)

    def forward(self, x):
        h = self.norm(x)  # <- TW895
        h = self.layer(x)
        return x + h
"""

GOOD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layer = nn.Linear(width, width)

    def forward(self, x):
        h = self.norm(x)
        h = self.layer(h)
        return x + h
"""

_BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.For, ast.While, ast.With, ast.If)


@rule(code="TW895", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the statements of blocks in functions."""
    if "torch" not in analysis.source.words:
        return
    for kind in _BLOCKS:
        for node in analysis.nodes.get(kind, []):
            for field in ("body", "orelse"):
                body = getattr(node, field, [])
                if len(body) > 1:
                    yield from _in_block(analysis, body)
                    yield from _under_a_condition(analysis, body)


def _is_of_tensors(value: ast.expr) -> bool:
    """Say whether a value is computed by operators, torch or a layer, not by something that may do more than that."""
    if isinstance(value, ast.Call):
        text = unparsed(value.func)
        if text.rpartition(".")[2] in _PLACEHOLDERS:
            return False
        return ("." in text and is_usual_name(value.func)) or _LAYER.search(text) is not None
    return isinstance(value, ast.BinOp)


def _is_of_a_layer(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _LAYER.search(unparsed(value.func)) is not None


_PLACEHOLDERS = frozenset("zeros zeros_like ones ones_like empty empty_like full full_like".split())
_METHODS = frozenset(
    "softmax log_softmax sigmoid tanh relu exp log sqrt abs clamp masked_fill transpose permute".split()
)
_LAYER = re.compile(
    r"^self\.\w*(norm|bn|ln|conv|linear|fc|proj|drop|relu|act|gelu|pool|embed|layer|block|head|attn|attention|mlp|ffn|up|"
    r"down|encoder|decoder|lstm|gru|rnn)\d*\w*$"
)


def _in_block(analysis: Analysis, body: list[ast.stmt]) -> Iterator[Hit]:
    pending: dict[str, ast.Assign] = {}
    for statement in body:
        name = _target(statement)
        mentioned = {one.id for one in nodes_of(statement, ast.Name)} if pending else set()
        if name in pending and isinstance(statement, ast.Assign):
            first = pending[name]
            alike = _is_of_tensors(first.value) and _is_computed_alike(first.value, statement.value)
            if alike and name not in variables(statement.value):
                yield Hit(
                    place=analysis.source.place(first),
                    message=f"`{name}` is computed here and overwritten before anything reads it",
                    evidence=(Evidence("overwritten here", analysis.source.place(statement)),),
                    fix=f"Make the second of `{name}`, or remove the first.",
                    severity=None if _is_of_a_layer(first.value) else "hint",
                )
        for one in mentioned & pending.keys():
            del pending[one]
        if isinstance(statement, ast.Try | ast.FunctionDef | ast.Return | ast.Raise | ast.Delete):
            pending.clear()
        if name and isinstance(statement, ast.Assign):
            pending[name] = statement


def _under_a_condition(analysis: Analysis, body: list[ast.stmt]) -> Iterator[Hit]:
    """Yield what a condition chose, and the next statement overwrites whatever was chosen: an ``else`` is missing."""
    for chosen, statement in pairwise(body):
        if not isinstance(chosen, ast.If) or chosen.orelse or not isinstance(statement, ast.Assign):
            continue
        name, first = _target(statement), chosen.body[-1]
        if not name or _target(first) != name or not isinstance(first, ast.Assign):
            continue
        if name not in variables(statement.value) and _is_made(first.value) and _is_made(statement.value):
            yield Hit(
                place=analysis.source.place(first),
                message=f"`{name}` is chosen here and overwritten right after, whatever the condition says",
                evidence=(Evidence("overwritten here", analysis.source.place(statement)),),
                fix="Put the second into an `else`.",
            )


def _is_made(value: ast.expr) -> bool:
    """Say whether a value is an object of a class, or computed from tensors."""
    name = unparsed(value.func).rpartition(".")[2] if isinstance(value, ast.Call) else ""
    return name[:1].isupper() or _is_of_tensors(value)


def _target(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        return target.id if isinstance(target, ast.Name) and not target.id.startswith("_") else ""
    return ""


def _is_computed_alike(first: ast.expr, second: ast.expr) -> bool:
    """Say whether two values are computed, in different ways, of one thing."""
    if not isinstance(first, ast.Call | ast.BinOp) or not isinstance(second, ast.Call | ast.BinOp):
        return False
    called = [unparsed(one.func) for one in (first, second) if isinstance(one, ast.Call)]
    if len(called) > 1 and called[0] == called[1]:  # measured, or tried with other arguments
        return False
    return bool(_given(first) & _given(second))


def _given(value: ast.expr) -> set[str]:
    """Return the names that a computation gets: operands, arguments, and the tensor whose method is called."""
    parts: list[ast.expr] = [value.left, value.right] if isinstance(value, ast.BinOp) else []
    if isinstance(value, ast.Call):
        parts = [*value.args, *(one.value for one in value.keywords)]
        if isinstance(value.func, ast.Attribute) and value.func.attr in _METHODS:
            parts.append(value.func.value)
    called = {one.func for part in parts for one in nodes_of(part, ast.Call)}
    return {one.id for part in parts for one in nodes_of(part, ast.Name) if one not in called} - {"self"}
