"""Sequences that a caller shifts against each other, and the function that it calls does again."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, integer, scope_of, subject
from trainworthy.check.static.bindings import Def, bindings_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, is_a_test, once_per_place
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Function, Instance

_LOSS = re.compile(r"cross_entropy|crossentropy|nll|log_softmax|loss|criterion", re.IGNORECASE)
_FURTHER = re.compile(r"mtp|multi_?token|ahead|medusa|horizon", re.IGNORECASE)


def shifted_twice(analysis: Analysis) -> Iterator[tuple[Call, str, ast.expr, Source]]:
    """Yield calls with shifted arguments, what is shifted, and where the function that is called shifts it again."""
    if is_a_test(analysis.source):
        return
    for call in once_per_place(iter(analysis.all_calls)):
        given = [*call.node.args, *(one.value for one in call.node.keywords)]
        function = _function(call) if len(given) >= 2 and call.context.source is analysis.source else None
        if function is None or _FURTHER.search(function.node.name):  # type: ignore[union-attr]
            continue
        scope = scope_of(call.node, analysis.parents)
        cuts = {id(one): _cut(_value(one, scope)) for one in given}
        if {"last", "first"} <= set(cuts.values()):
            for parameter, node in _by_parameter(call, function):
                again = _shifts_again(function, parameter) if cuts.get(id(node)) == "first" else None
                if again is not None:
                    yield call, unparsed(node), again, function.source


def _function(call: Call) -> Function | None:
    """Return the function that a call runs; the `forward` of a network."""
    cls = call.owner.cls if isinstance(call.owner, Instance) and call.name.endswith("__call__") else None
    forward = cls.lookup("forward") if cls is not None else None
    return forward if isinstance(forward, Function) else called_function(call)


def _value(node: ast.expr, scope: ast.AST) -> ast.expr:
    """Look through a name, also one of several that an assignment binds."""
    bound = bindings_of(scope) if isinstance(node, ast.Name) and isinstance(scope, Def | ast.Module) else None
    value = bound.value_before(node) if bound is not None and isinstance(node, ast.Name) else None
    return node if value is None else value


def _by_parameter(call: Call, function: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names of a function's parameters with what a call gives for them."""
    arguments = function.node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    bound = function.owner is not None and names[:1] in (["self"], ["cls"])
    if not any(isinstance(one, ast.Starred) for one in call.node.args):
        yield from zip(names[bound:], call.node.args, strict=False)
    for keyword in call.node.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value


def _shifts_again(function: Function, parameter: str) -> ast.expr | None:
    """Return where a function leaves out the first of its labels, if it does the last of its scores, for a loss."""
    nodes = walk(function.node)
    if not any(_LOSS.search(called(one)) for one in nodes):
        return None
    cuts = [(one, _cut(one), _root(one)) for one in nodes if isinstance(one, ast.Subscript | ast.Call)]
    first = [one for one, cut, root in cuts if cut == "first" and root == parameter]
    last = [root for _, cut, root in cuts if cut == "last" and root != parameter]
    rebound = any(
        isinstance(one, ast.Name)
        and isinstance(one.ctx, ast.Store)
        and one.id == parameter
        and one.lineno < first[0].lineno
        for one in nodes
        if first
    )
    return first[0] if len(first) == 1 and last and not rebound else None


def _root(node: ast.expr) -> str:
    of = node.value if isinstance(node, ast.Subscript) else subject(node) if isinstance(node, ast.Call) else None
    return unparsed(of) if of is not None else ""


def _cut(node: ast.expr) -> str:
    """Say whether an expression leaves out the "first" or the "last" of an axis behind the batch's; "" if neither."""
    if isinstance(node, ast.Call) and called(node) in (
        "contiguous",
        "reshape",
        "view",
        "flatten",
        "to",
        "long",
        "clone",
    ):
        inner = subject(node)
        return _cut(inner) if inner is not None else ""
    if isinstance(node, ast.Call) and called(node) == "narrow":
        given = arguments_after_subject(node)
        start = integer(given[1]) if len(given) == 3 else None
        shorter = len(given) == 3 and isinstance(given[2], ast.BinOp) and isinstance(given[2].op, ast.Sub)
        return {0: "last", 1: "first"}.get(-1 if start is None else start, "") if shorter else ""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return ""
    found = [_side(one) for one in node.slice.elts[1:]]
    return next((one for one in found if one), "")


def _side(part: ast.expr) -> str:
    if not isinstance(part, ast.Slice) or part.step is not None:
        return ""
    lower, upper = integer(part.lower), integer(part.upper)
    if part.lower is None and upper == -1:
        return "last"
    return "first" if lower == 1 and part.upper is None else ""
