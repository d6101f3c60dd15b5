"""Minus infinity is filled into probabilities.

What it finds:
    `attn = attn.softmax(-1)` and then `attn.masked_fill(mask, float("-inf"))`, or another large negative number.

Why:
    The mask belongs before the softmax, where minus infinity becomes a weight of 0. After it, the masked weights are
    minus infinity themselves: the output is NaN or far off, as soon as anything is masked.

How sure:
    The numbers come out of a softmax or sigmoid, and the value is negative: no probability is. Silent where the result
    is sorted, or its largest taken: what is masked is not to be chosen there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Tensor, Value

BAD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def forward(self, q, k, v, mask=None):
        attn = (q @ k.transpose(-2, -1)).softmax(dim=-1)
        if mask is not None:
            attn = attn.masked_fill(~mask, float("-inf"))  # <- TW218
        return attn @ v
"""

GOOD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def forward(self, q, k, v, mask=None):
        attn = q @ k.transpose(-2, -1)
        if mask is not None:
            attn = attn.masked_fill(~mask, float("-inf"))
        return attn.softmax(dim=-1) @ v
"""


@rule(code="TW218", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at masks that are filled in."""
    for call in once_per_place(analysis.method_calls("masked_fill", "masked_fill_")):
        filled: Value | None = call.args[0] if call.name == "torch.masked_fill" and call.args else call.owner
        value = call.node.args[-1] if call.node.args else None
        if value is None or not _is_negative(value, call) or _is_ranked(call, analysis.parents):
            continue
        made, activation = (filled.made_by, filled.activation) if isinstance(filled, Tensor) else (None, None)
        if activation is None and call.context.source is analysis.source and _was_just_masked(call, analysis.parents):
            activation = "softmax"
        if activation in ("softmax", "sigmoid"):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"a negative number is filled into the result of a {activation}",
                evidence=() if made is None else (Evidence("made here", analysis.place(made.node, made.context)),),
                fix="Fill the mask in before, or fill in 0.",
            )


def _was_just_masked(call: Call, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether the statement before gave the tensor what a softmax made, be it masked with 0 since."""
    on, statement = subject(call.node), parents.get(call.node)
    around = parents.get(statement) if isinstance(statement, ast.Assign) else None
    block = next((side for side in _blocks(around) if statement in side), [])
    before = block[block.index(statement) - 1] if block and block[0] is not statement else None  # type: ignore[arg-type]
    if not isinstance(before, ast.Assign) or on is None or unparsed(before.targets[0]) != unparsed(on):
        return False
    made: ast.expr | None = before.value
    while isinstance(made, ast.Call) and called(made) in ("masked_fill", "float", "to", "type_as", "contiguous"):
        made = subject(made)
    return made is not None and called(made) == "softmax"


def _blocks(node: ast.AST | None) -> list[list[ast.stmt]]:
    return [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]


def _is_ranked(call: Call, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether what is filled is only compared: what is masked is not to be chosen, which needs no softmax."""
    parent = parents.get(call.node)
    if isinstance(parent, ast.Attribute):
        return parent.attr in _RANKING
    owner = call.node.func.value if isinstance(call.node.func, ast.Attribute) else None
    target = parent.targets[0] if isinstance(parent, ast.Assign) else owner
    text = unparsed(target) if target is not None else ""
    for one in walk(body_of(call.context)):
        if not isinstance(one, ast.expr) or one.lineno < call.node.lineno:
            continue
        given: list[ast.expr] = []
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _RANKING:
            given = [one.func.value, *one.args[:1]]
        elif isinstance(one, ast.Compare) and isinstance(one.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            given = [side.value if isinstance(side, ast.Subscript) else side for side in (one.left, *one.comparators)]
        if any(unparsed(each) == text for each in given):
            return True
    return False


_RANKING = frozenset("topk argmax max sort argsort kthvalue amax nms multiclass_nms".split())


_FINFO = re.compile(r"\w+\.finfo\(")


def _is_negative(value: ast.expr, call: Call) -> bool:
    """Say whether a value is surely far below 0: `-inf`, `-1e9`, the least number of a type."""
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        number = getattr(value.operand, "value", None)
        return not isinstance(number, int | float) or number >= 1
    text = unparsed(value)
    return text in ("float('-inf')", "float('-Inf')") or (_FINFO.match(text) is not None and text.endswith(".min"))
