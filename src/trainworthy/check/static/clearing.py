"""Whether anything can clear the gradients of an optimizer that a function makes for itself."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Instance

_MAY_CLEAR = re.compile(r"step|zero|train|update|optim|fit|clear|grad_?reset|closure")


def never_cleared_here(analysis: Analysis, step: Call) -> bool:
    """Say whether a stepping optimizer is made in the same function, and nothing there clears gradients."""
    owner = step.owner
    made = owner.made_by if isinstance(owner, Instance) else None
    function = step.context.function
    if made is None or function is None or made.context.function is not function or not analysis.finished:
        return False
    body = body_of(step.context)
    names = {
        last_name(target)
        for node in walk(body)
        if isinstance(node, ast.Assign) and node.value is made.node
        for target in node.targets
    }
    models = _receivers_of_parameters(made.node)
    others = _other_optimizers(body, models)
    for node in walk(body):
        if getattr(node, "attr", "") == "grad" and not _is_read(node):
            return False
        if isinstance(node, ast.Attribute) and node.attr == "zero_grad" and last_name(node.value) not in others:
            return False
    if not names or "" in names or any(isinstance(node, ast.Attribute) and node.attr in names for node in walk(body)):
        return False
    if any(
        _inside(one, function) and one.context.function is not function for one in analysis.method_calls("zero_grad")
    ):
        return False
    return not any(_hands_on(node, names, models, made.node) for node in walk(body) if isinstance(node, ast.Call))


def _receivers_of_parameters(node: ast.AST) -> set[str]:
    """Write what stands before `.parameters()` below a node."""
    return {
        ast.unparse(part.func.value)
        for part in walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "parameters"
    }


def _other_optimizers(body: ast.AST, models: set[str]) -> set[str]:
    """Return the names of optimizers that are made here of other models: clearing theirs says nothing of this one's."""
    found: set[str] = set()
    for node in walk(body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            others = _receivers_of_parameters(node.value)
            if others and not others & models:
                found |= {last_name(target) for target in node.targets}
    return found - {""}


def _is_read(node: ast.AST) -> bool:
    """Say whether `.grad` is only read; what `zero_` is called on, and `zero_grad`, are not."""
    return isinstance(node, ast.Attribute) and node.attr == "grad" and isinstance(node.ctx, ast.Load)


def _inside(call: Call, function: object) -> bool:
    return any(one.context.function is function for one in call.context.callers)


def _hands_on(node: ast.Call, names: set[str], models: set[str], made: ast.AST) -> bool:
    """Say whether a call gives the optimizer away, or the model to what may clear its gradients."""
    arguments = (*node.args, *(keyword.value for keyword in node.keywords))
    called = last_name(node.func)
    if {last_name(one) for one in arguments} & names:
        return "LR" not in called and "sched" not in called.lower()
    return (
        node is not made
        and bool({ast.unparse(one) for one in arguments} & models)
        and _MAY_CLEAR.search(called.lower()) is not None
    )
