"""An asynchronous message is sent and nobody waits for it.

What it finds:
    `dist.isend(...)`, `dist.irecv(...)`, `dist.batch_isend_irecv(...)` or a collective with `async_op=True` whose
    result is thrown away, be it by who calls a function that returns it; or is given a name, or put in a list or an
    attribute, that nothing reads again.

Why:
    The tensor may be read before it has arrived, or changed before it was sent.

How sure:
    The call is a statement of its own, or nothing reads what holds its result, so nothing can wait for it. Silent about
    kept results where the function has a barrier or waits for the whole device.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, scope_of
from trainworthy.check.static.bindings import Def, bindings_of
from trainworthy.check.static.everywhere import attribute_is_read
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.tree import nodes_of, own

BAD = """\
import torch
import torch.distributed as dist

t = torch.zeros(4)
dist.irecv(t, src=0)  # <- TW421
dist.all_reduce(t, async_op=True)  # <- TW421
"""

GOOD = """\
import torch
import torch.distributed as dist

t = torch.zeros(4)
dist.irecv(t, src=0).wait()
work = dist.all_reduce(t, async_op=True)
work.wait()
"""


@rule(code="TW421", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at statements that are only such a call, and at names of what it returns that nothing reads."""
    if not analysis.source.words.intersection(("isend", "irecv", "async_op", "batch_isend_irecv")):
        return
    alone = {node.value for node in analysis.nodes.get(ast.Expr, ()) if isinstance(node, ast.Expr)}
    for call in once_per_place(iter(analysis.all_calls)):
        started = _starts(call)
        if not started and call.node in alone:
            started = any(_starts(one) for one in _returned_by(call, analysis))
        if not started:
            continue
        if call.node in alone or (call.context.source is analysis.source and _is_dropped(call.node, analysis)):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"nobody waits for this `{call.method or called(call.node)}`",
                fix="Keep the result and call `.wait()` on it.",
            )


def _starts(call: Call) -> bool:
    """Say whether a call returns work to wait for."""
    if not call.name.startswith("torch.distributed."):
        return False
    return call.method in ("isend", "irecv", "batch_isend_irecv") or call.constant(None, "async_op") is True


def _returned_by(call: Call, analysis: Analysis) -> Iterator[Call]:
    """Yield the call whose result a function of the file returns, if that is all that it returns."""
    function = called_function(call)
    if function is None or function.source is not analysis.source or isinstance(function.node, ast.Lambda):
        return
    returns = [one.value for one in own(function.node) if isinstance(one, ast.Return)]
    if len(returns) == 1 and isinstance(returns[0], ast.Call) and returns[0] in analysis.call_at:
        yield analysis.call_at[returns[0]]


def _is_dropped(node: ast.Call, analysis: Analysis) -> bool:
    """Say whether what a call returns is given a name, or put in a list, that nothing reads."""
    parents = analysis.parents
    at: ast.AST = node
    while isinstance(parents.get(at), ast.List | ast.ListComp):
        at = parents[at]
    parent = parents.get(at)
    target: ast.AST | None = None
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
        target = parent.targets[0]
    elif isinstance(parent, ast.AnnAssign | ast.AugAssign):
        target = parent.target
    elif isinstance(parent, ast.Expr):
        return True
    elif isinstance(parent, ast.Call) and called(parent) in ("append", "extend") and at in parent.args:
        target = parent.func.value if isinstance(parent.func, ast.Attribute) else None
    return target is not None and not _waits_otherwise(node, analysis) and not _is_read(target, analysis)


def _waits_otherwise(node: ast.AST, analysis: Analysis) -> bool:
    """Say whether a function waits for all that is under way on the device."""
    scope = scope_of(node, analysis.parents)
    return any(called(one) in ("synchronize", "barrier", "wait") for one in nodes_of(scope, ast.Call))


def _is_read(target: ast.AST, analysis: Analysis) -> bool:
    """Say whether anything but a list's own methods reads a local name, or an attribute of one's own."""
    if isinstance(target, ast.Name):
        scope = scope_of(target, analysis.parents)
        bindings = bindings_of(scope) if isinstance(scope, Def) else None
        if bindings is not None and (bindings.opaque or target.id in (*bindings.declared, *bindings.parameters)):
            return True
        return any(one.id == target.id and _reads(one, analysis) for one in nodes_of(scope, ast.Name))
    if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
        found = [one for one in analysis.nodes.get(ast.Attribute, ()) if getattr(one, "attr", "") == target.attr]
        elsewhere = attribute_is_read(analysis.source.path, target.attr, "") is not False
        return elsewhere or any(_reads(one, analysis) for one in found)
    return True


def _reads(node: ast.AST, analysis: Analysis) -> bool:
    if isinstance(getattr(node, "ctx", None), ast.Store):
        return False
    method = analysis.parents.get(node)
    call = analysis.parents.get(method) if method is not None else None
    if isinstance(method, ast.Attribute) and isinstance(call, ast.Call) and call.func is method:
        return method.attr not in ("append", "extend", "clear")
    return True
