"""Two comparisons are added and the sum compared with 2.

What it finds:
    `((t > 0) + (t < 1)) == 2` on tensors or arrays, also by methods, over names, and of votes that a loop adds up:
    `votes = votes + (s > 0)`, which are then compared with a number, multiplied or divided.

Why:
    Comparisons are bool since torch 1.2, and the sum of bools is a logical or, never 2: the mask is all False.

How sure:
    All summands are known to be comparisons of tensors or arrays, and the sum is used as a number of more than one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Context, Operation
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import UNKNOWN, Const, Tensor, Value

BAD = """\
import torch

t = torch.rand(10)
inside = (((t > 0.2) + (t < 0.8)) == 2).nonzero()  # <- TW104
"""

GOOD = """\
import torch

t = torch.rand(10)
inside = ((t > 0.2) & (t < 0.8)).nonzero()
count = ((t > 0.2).int() + (t < 0.8).int()) == 2
"""


@rule(code="TW104", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons of sums."""
    seen: set[ast.AST] = set()
    for operation in analysis.operations:
        summed = _counted(operation)
        if summed is not None and operation.node not in seen:
            seen.add(operation.node)
            yield _hit(analysis, operation.node, summed, operation.context)
    for call in analysis.method_calls("eq", "ge", "gt", "ne"):
        first, other = (call.owner, call.args[0]) if len(call.args) == 1 else (UNKNOWN, UNKNOWN)
        added = call.node.func.value if isinstance(call.node.func, ast.Attribute) else None
        summed = _sum_of(added, call.context) if added is not None and _is_bool(first) else None
        if call.node not in seen and summed is not None and _is_more_than_one(other, call.node.args[0]):
            seen.add(call.node)
            yield _hit(analysis, call.node, summed, call.context)


def _hit(analysis: Analysis, node: ast.AST, summed: ast.AST, context: Context) -> Hit:
    named = not any(one is summed for one in walk(node))
    return Hit(
        place=analysis.place(summed if named else node, context),
        message="the sum of two bool tensors is a logical or, never more than 1",
        evidence=(Evidence("taken for a number here", analysis.place(node, context)),) if named else (),
        fix="Join the conditions with `&`, or count: `a.int() + b.int()`.",
    )


def _counted(operation: Operation) -> ast.AST | None:
    """Return the sum of comparisons that an operator takes for a number: compares it, multiplies or divides it."""
    node = operation.node
    if len(operation.operands) != 2 or not isinstance(node, ast.Compare | ast.BinOp):
        return None
    left, right = operation.operands
    summed = _sum_of(node.left, operation.context) if _is_bool(left) else None
    if isinstance(node, ast.Compare):
        return summed if _is_more_than_one(right, node.comparators[0]) else None
    whole = isinstance(right, Const) and isinstance(right.value, int) and right.value > 1
    divided = isinstance(node.op, ast.Div | ast.FloorDiv) and (whole or _is_a_length(node.right))
    return summed if divided or (whole and isinstance(node.op, ast.Mult)) else None


def _is_bool(value: Value) -> bool:
    return isinstance(value, Tensor) and value.dtype == "bool"


def _is_more_than_one(value: Value, node: ast.expr) -> bool:
    if isinstance(value, Const):
        return isinstance(value.value, int) and value.value >= 2
    return value is UNKNOWN and _is_a_length(node)


def _is_a_length(node: ast.expr) -> bool:
    """Say whether an expression is a length, or a part of one: `len(models) // 2`."""
    if isinstance(node, ast.BinOp):
        return _is_a_length(node.left) or _is_a_length(node.right)
    return isinstance(node, ast.Call) and last_name(node.func) == "len"


def _sum_of(node: ast.expr, context: Context) -> ast.AST | None:
    """Return the sum that an expression is, or that its name was given last or in a loop above."""
    if isinstance(node, ast.BinOp):
        return node if isinstance(node.op, ast.Add) else None
    if isinstance(node, ast.Call):
        return node if last_name(node.func) in ("add", "add_") else None
    if not isinstance(node, ast.Name):
        return None
    for one in walk(body_of(context)):
        if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add) and last_name(one.target) == node.id:
            return one
        plain = isinstance(one, ast.Assign) and any(last_name(target) == node.id for target in one.targets)
        if plain and isinstance(one, ast.Assign) and isinstance(one.value, ast.BinOp | ast.Call):
            summed = _sum_of(one.value, context)
            if summed is not None:
                return summed
    return None
