"""Updates of parameters that programs write out, without an optimizer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import scope_of
from trainworthy.check.static.bindings import loops_around
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import own, walk

Body = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_IN_PLACE = frozenset({"add_", "sub_", "copy_", "addcmul_", "addcdiv_", "mul_"})
_CLEARS = re.compile(
    r"zero_?grad|clear_?grad|grad_?zero|set_?grad\w*_?to_?none|\.grad\b(\.data)?\.(zero_|fill_|mul_|detach_)|\.grad\b(\.data)?"
    r"(\[[^\]]*\])?\s*=[^=]|\.grad\s*,|del [\w.]+\.grad|autograd\.grad\b"
)
_REPEATED = re.compile(r"train|step|update|learn|optimi[sz]e|fit|iteration|epoch", re.IGNORECASE)


def never_cleared(analysis: Analysis) -> Iterator[tuple[ast.stmt, ast.Call]]:
    """Yield updates in loops over parameters, after a backward, of gradients that nothing in reach clears."""
    source = analysis.source
    if "backward" not in source.words or "parameters" not in source.words or _CLEARS.search(source.code):
        return
    for node in analysis.nodes.get(ast.For, ()):
        if not isinstance(node, ast.For) or not isinstance(node.target, ast.Name) or not _is_over_parameters(node.iter):
            continue
        update = next((one for one in node.body if _updates(one, node.target.id)), None)
        body = scope_of(node, analysis.parents)
        if update is None or not isinstance(body, Body):
            continue
        backward = _backward_before(body, node)
        if backward is None or not _is_repeated(analysis, body, node, backward):
            continue
        name = getattr(body, "name", "")
        if not any(_clears_elsewhere(one, name) for one in analysis.sources if one is not source):
            yield update, backward


def _is_over_parameters(node: ast.expr) -> bool:
    """Say whether something is the parameters of a module; of an optimizer's groups it is not."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "parameters"


def _updates(node: ast.stmt, name: str) -> bool:
    """Say whether a statement changes a parameter by its gradient: ``p.data.add_(-lr * p.grad)``, ``p -= ...``."""
    gradient = any(isinstance(one, ast.Attribute) and one.attr == "grad" and _is(one.value, name) for one in walk(node))
    if not gradient:
        return False
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Sub | ast.Add) and _is_parameter(node.target, name)
    if isinstance(node, ast.Assign):
        return any(
            isinstance(one, ast.Attribute) and one.attr == "data" and _is(one.value, name) for one in node.targets
        )
    call = node.value if isinstance(node, ast.Expr) else None
    func = call.func if isinstance(call, ast.Call) else None
    return isinstance(func, ast.Attribute) and func.attr in _IN_PLACE and _is_parameter(func.value, name)


def _is_parameter(node: ast.expr, name: str) -> bool:
    return _is(node, name) or (isinstance(node, ast.Attribute) and node.attr == "data" and _is(node.value, name))


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _backward_before(body: Body, loop: ast.For) -> ast.Call | None:
    found = [
        one
        for one in own(body)
        if isinstance(one, ast.Call) and getattr(one.func, "attr", "") == "backward" and one.lineno < loop.lineno
    ]
    return found[-1] if found else None


def _is_repeated(analysis: Analysis, body: Body, loop: ast.For, backward: ast.Call) -> bool:
    """Say whether update and backward stand in one loop, or in none but a function that is named for a step."""
    loops = [loops_around(analysis.parents, one) for one in (loop, backward)]
    if loops[0] or loops[1]:
        return loops[0] == loops[1]
    return _REPEATED.search(getattr(body, "name", "")) is not None


def _clears_elsewhere(source: Source, name: str) -> bool:
    """Say whether a file clears gradients in anything but functions of that name, which are overridden here."""
    if not _CLEARS.search(source.code):
        return False
    lines = source.code.splitlines()
    overridden = [
        (one.lineno, one.end_lineno or one.lineno)
        for one in walk(source.tree)
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == name
    ]
    return any(
        _CLEARS.search(line) is not None and not any(first <= at <= last for first, last in overridden)
        for at, line in enumerate(lines, 1)
    )
