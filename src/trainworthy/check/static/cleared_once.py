"""Gradients that are cleared once, before a loop whose every turn computes and uses them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.clearing import CLEARING, takes
from trainworthy.check.static.external import is_optimizer
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, stepped_by
from trainworthy.check.static.tree import own, unparsed, variables, walk
from trainworthy.check.static.values import Instance

_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_Loop = ast.For | ast.AsyncFor | ast.While
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def cleared_before_loop(analysis: Analysis) -> Iterator[tuple[ast.Call, ast.Call, ast.Call]]:
    """Yield steps in loops before which gradients are cleared and in which they never are: step, clearing, backward."""
    if not {"zero_grad", "backward", "step"} <= analysis.source.words:
        return
    scopes: list[_Scope] = [analysis.source.tree]
    scopes += [one for kind in (ast.FunctionDef, ast.AsyncFunctionDef) for one in analysis.nodes.get(kind, ())]  # type: ignore[misc]
    for scope in scopes:
        clears = [one for one in own(scope) if _is_call(one, "zero_grad")]
        # A closure that clears runs when it is called.
        if clears and len(clears) == sum(_is_call(one, "zero_grad") for one in walk(scope) if _within(one, scope)):
            yield from _of_scope(analysis, scope, clears)  # type: ignore[arg-type]


def _of_scope(
    analysis: Analysis, scope: _Scope, clears: list[ast.Call]
) -> Iterator[tuple[ast.Call, ast.Call, ast.Call]]:
    told: set[ast.AST] = set()
    for step in own(scope):
        optimizer = _stepped(step)
        if optimizer is None or not isinstance(step, ast.Call):
            continue
        loop, backward = _turn_of(analysis, step, scope)
        if loop is None or backward is None or loop in told or backward.lineno > step.lineno:
            continue
        clear = next((one for one in clears if _receiver(one) == optimizer and one.lineno < loop.lineno), None)
        if clear is not None and not _may_be_cleared(analysis, loop, optimizer, _models_of(clears, clear)):
            told.add(loop)
            yield step, clear, backward


def never_cleared_in_its_loop(analysis: Analysis, step: Call, optimizer: str) -> bool:
    """Say whether nothing in all of the loops around a step of one of torch's optimizers can clear its gradients."""
    owner, loops = stepped_by(step)[0], step.context.loops
    made = owner.made_by if isinstance(owner, Instance) and owner.cls is None and is_optimizer(owner) else None
    if made is None or not loops or not analysis.finished or step.context.source is not analysis.source:
        return False
    scope = body_of(step.context)
    if not optimizer.isidentifier() or _is_cleared_elsewhere(analysis, optimizer, scope):
        return False  # an attribute may be cleared by anybody
    nodes = set(walk(loops[0]))
    # A model that is handed to a function of the project may be cleared there.
    unknown = any(
        isinstance(one, ast.Call) and _MAY_CLEAR.search(last_name(one.func).lower()) and one is not step.node
        for one in nodes
    )
    return made.node not in nodes and not unknown and not _may_be_cleared(analysis, loops[0], optimizer, set())


def _is_cleared_elsewhere(analysis: Analysis, optimizer: str, scope: ast.AST) -> bool:
    """Say whether another function, which somebody may call, clears an optimizer of that name."""
    for one in analysis.nodes.get(ast.Attribute, []):
        if isinstance(one, ast.Attribute) and one.attr == "zero_grad" and unparsed(one.value) == optimizer:
            around: ast.AST = one
            while around in analysis.parents and not isinstance(around, ast.FunctionDef | ast.Lambda):
                around = analysis.parents[around]
            if around is not scope:
                return True
    return False


_MAY_CLEAR = re.compile(r"zero|clear|reset|closure|update|optim|train_|fit$")


def _is_call(node: ast.AST, method: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def _receiver(call: ast.Call) -> str:
    return unparsed(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _within(node: ast.AST, scope: _Scope) -> bool:
    """Say whether a node is a part of a scope's run: of a module, what stands in no function or class."""
    return not isinstance(scope, ast.Module) or node in own(scope)


def _stepped(node: ast.AST) -> str | None:
    """Write the optimizer that a call steps, itself or through a scaler; None if it is no such call."""
    if not _is_call(node, "step") or not isinstance(node, ast.Call) or node.keywords:
        return None
    if not node.args:
        return _receiver(node)
    through_scaler = "scaler" in last_name(getattr(node.func, "value", node)).lower() and len(node.args) == 1
    return unparsed(node.args[0]) if through_scaler else None


def _turn_of(analysis: Analysis, step: ast.Call, scope: _Scope) -> tuple[_Loop | None, ast.Call | None]:
    """Return the innermost loop around a step in which there is a backward pass, and that; it must run to its end."""
    node: ast.AST = step
    while node is not scope and node in analysis.parents:
        node = analysis.parents[node]
        if isinstance(node, _LOOPS):
            backward = next((one for one in walk(node) if _is_call(one, "backward")), None)
            if isinstance(backward, ast.Call):
                ends = any(isinstance(one, ast.Break | ast.Return | ast.Raise) for one in node.body)
                return (None, None) if ends else (node, backward)
    return None, None


def _models_of(clears: list[ast.Call], known: ast.Call) -> set[str]:
    """Return what else is cleared in the function: optimizers and models that may share parameters with this one."""
    return {_receiver(one) for one in clears} - {_receiver(known)}


def _may_be_cleared(analysis: Analysis, loop: ast.AST, optimizer: str, others: set[str]) -> bool:
    """Say whether something in a loop clears gradients, makes the optimizer anew, or gives it away."""
    nodes = walk(loop)
    inside = set(nodes)
    steps = {_stepped(one) for one in nodes}
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in CLEARING:
            if unparsed(node.value) not in (others & steps) - {optimizer}:  # another optimizer's, which steps, too
                return True
        elif _ends_the_sum(node, optimizer):
            return True
    return any(
        caller.node in inside for call in analysis.method_calls("zero_grad") for caller in call.context.callers
    ) or _calls_what_clears(analysis, inside)


def _ends_the_sum(node: ast.AST, optimizer: str) -> bool:
    """Say whether `.grad` is set, or the optimizer made anew or given to what may clear by it."""
    if isinstance(node, ast.Attribute):
        return node.attr == "grad" and not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Assign):
        return any(unparsed(one) == optimizer for one in _targets(node))
    return isinstance(node, ast.Call) and _clears_or_takes(node, optimizer)


def _targets(node: ast.Assign) -> Iterator[ast.expr]:
    for target in node.targets:
        yield from target.elts if isinstance(target, ast.Tuple | ast.List) else (target,)


def _clears_or_takes(call: ast.Call, optimizer: str) -> bool:
    """Say whether a call works on `.grad` in place, or gets the optimizer and may clear by it."""
    named = call.func.attr if isinstance(call.func, ast.Attribute) else last_name(call.func)
    if named in ("zero_", "fill_", "setattr") and "grad" in unparsed(call):
        return True
    return takes(call, optimizer)


def _calls_what_clears(analysis: Analysis, inside: set[ast.AST]) -> bool:
    """Say whether a function of the project that is called there speaks of clearing, or one that nobody knows might."""
    for node in inside:
        call = analysis.call_at.get(node) if isinstance(node, ast.Call) else None
        if call is None or not isinstance(node, ast.Call):
            continue
        if call.function is not None and any(getattr(one, "attr", "") in CLEARING for one in walk(call.function.node)):
            return True
        unknown = call.function is None and "self" in variables(node.func)
        if unknown and "grad" in last_name(node.func) and last_name(node.func) not in _OF_GRADIENTS:
            return True
    return False


_OF_GRADIENTS = frozenset({"no_grad", "enable_grad", "clip_grad_norm_", "clip_grad_value_", "clip_gradients"})
