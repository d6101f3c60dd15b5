"""The gradient of the policy flows through the advantage into the critic.

What it finds:
    `advantage = returns - values` of which both a square, the loss of the values, and a product with the logarithm of
    a probability are taken, without `detach()` in the product.

Why:
    In the policy gradient the advantage is a weight. Where it keeps its graph, the policy's loss also pushes the
    values: up where actions were likely, down where they were not, which has nothing to do with what they should
    predict. It trains, and the critic is wrong.

How sure:
    That the square is learned from shows that the advantage has a gradient. What is a value and a logarithm of a
    probability is told by names. Silent where it is made under `no_grad`, or detached when it is made.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def losses(log_probs, values, returns):
    advantage = returns - values
    value_loss = advantage.pow(2).mean()
    policy_loss = -torch.mean(log_probs * advantage)  # <- TW384
    return policy_loss + 0.5 * value_loss
"""
GOOD = BAD.replace("advantage)  # <- TW384", "advantage.detach())")

_VALUE = re.compile(r"(^|_)(values?|v|vs|critic|baselines?|state_values?|v_s|vf|vpred)(_|$|\d)", re.IGNORECASE)
_LOG = re.compile(r"(^|_)(log_?probs?|logp|log_?pi|log_?prob\w*|log_act\w*)(_|$)", re.IGNORECASE)
_CUT = re.compile(r"detach|\.data\b|\.item\(|no_grad|\.numpy\(|stop_grad")
_OFF = re.compile(r"no_grad|inference_mode|set_grad_enabled\(False\)")
_SQUARES = frozenset({"pow", "square", "mse_loss", "smooth_l1_loss", "l1_loss", "huber_loss"})


@rule(code="TW384", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at differences in functions."""
    if "torch" not in analysis.source.words or not any(_LOG.search(one) for one in analysis.source.words):
        return
    for statement in analysis.nodes.get(ast.Assign, ()):
        function = function_around(analysis.parents, statement)
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if function is None or not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name):
            continue
        if _is_advantage(statement.value) and not _without_gradients(analysis, statement):
            yield from _of(analysis, function, target.id, statement)


def _of(analysis: Analysis, function: ast.AST, name: str, statement: ast.Assign) -> Iterator[Hit]:
    given = [one for one in walk(function) if isinstance(one, ast.Assign | ast.AugAssign) and _binds(one, name)]
    squared = next((one for one in walk(function) if _is_squared(one, name)), None)
    if squared is None or given != [statement]:
        return
    for one in walk(function):
        sides = (one.left, one.right) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult) else ()
        if any(getattr(side, "id", "") == name for side in sides) and any(_is_log(side) for side in sides):
            yield Hit(
                place=analysis.place(one),
                message=f"`{name}` keeps its graph here: the policy's gradient goes on into the critic",
                evidence=(Evidence("the values learn from its square", analysis.place(squared)),),
                fix=f"Write `{name}.detach()` in the loss of the policy.",
            )


def _without_gradients(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether a ``with`` or a decorator around a statement turns gradients off."""
    while node in analysis.parents:
        node = analysis.parents[node]
        around: list[ast.expr] = []
        if isinstance(node, ast.With):
            around = [one.context_expr for one in node.items]
        elif isinstance(node, ast.FunctionDef):
            around = node.decorator_list
        if any(_OFF.search(unparsed(one)) for one in around):
            return True
    return False


def _is_advantage(value: ast.expr) -> bool:
    """Say whether an expression is a difference of which one side is a value by its name, with its graph."""
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Sub) or _CUT.search(unparsed(value)):
        return False
    return any(_VALUE.search(one) for one in re.findall(r"\w+", unparsed(value.right)))


def _binds(statement: ast.Assign | ast.AugAssign, name: str) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return any(getattr(one, "id", "") == name for target in targets for one in walk(target))


def _is_squared(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.BinOp):
        left, right = getattr(node.left, "id", ""), node.right
        power = isinstance(node.op, ast.Pow) and getattr(right, "value", 0) == 2
        return left == name and (power or (isinstance(node.op, ast.Mult) and getattr(right, "id", "") == name))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in _SQUARES:
        return False
    return getattr(node.func.value, "id", "") == name or any(getattr(one, "id", "") == name for one in node.args)


def _is_log(node: ast.expr) -> bool:
    text = unparsed(node)
    return not _CUT.search(text) and any(_LOG.search(one) for one in re.findall(r"\w+", text))
