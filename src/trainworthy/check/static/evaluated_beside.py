"""A model that is loaded and used beside another, of which only the other is put into evaluation mode."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import own, unparsed, walk
from trainworthy.check.static.values import Function
from trainworthy.check.static.without_modes import is_the_same_in_both_modes

_NO_NETWORK = re.compile(r"opt|sched|scaler|ema|state|loader|criterion|loss|tokeni|vocab|norm|sampler", re.IGNORECASE)
_TRAINS = frozenset({"backward", "train", "zero_grad", "requires_grad_"})


def loaded_beside(analysis: Analysis) -> Iterator[tuple[ast.Call, str, str]]:
    """Yield where a model's weights are loaded that stays in training mode, with its name and the other's."""
    if not {"load_state_dict", "eval"} <= analysis.source.words:
        return
    for body in (analysis.source.tree, *analysis.nodes.get(ast.FunctionDef, [])):
        if not isinstance(body, ast.Module | ast.FunctionDef):
            continue
        nodes = own(body)
        loads = _loaded(nodes)
        if len(loads) <= 1:
            continue
        calls = [one for one in nodes if isinstance(one, ast.Call)]
        if any(last_name(one.func) in _TRAINS for one in calls):
            continue
        quiet = _in_evaluation(nodes)
        other = next((name for name in loads if name in quiet), "")
        for name, call in loads.items():
            if not other or name in quiet or _NO_NETWORK.search(name):
                continue
            if _is_used(analysis, nodes, name) and not _is_the_same(analysis, body, name):
                yield call, name, other


def _loaded(nodes: Sequence[ast.AST]) -> dict[str, ast.Call]:
    """Return the names that a body binds to what a call makes, and loads weights into."""
    made = {
        target.id
        for one in nodes
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    return {
        one.func.value.id: one
        for one in nodes
        if isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and one.func.attr == "load_state_dict"
        and isinstance(one.func.value, ast.Name)
        and one.func.value.id in made
    }


def _in_evaluation(nodes: Sequence[ast.AST]) -> set[str]:
    """Return the names that are put into evaluation mode, in whatever chain of calls, or bound to what is."""
    found: set[str] = set()
    for one in nodes:
        if isinstance(one, ast.Call) and last_name(one.func) == "eval" and isinstance(one.func, ast.Attribute):
            root: ast.AST = one.func.value
            while isinstance(root, ast.Call | ast.Attribute | ast.Subscript):
                root = root.func if isinstance(root, ast.Call) else root.value
            found.add(getattr(root, "id", ""))
        elif isinstance(one, ast.Assign) and any(getattr(each, "attr", "") == "eval" for each in walk(one.value)):
            found |= {each.id for each in one.targets if isinstance(each, ast.Name)}
    return found


def _is_used(analysis: Analysis, nodes: Sequence[ast.AST], name: str) -> bool:
    """Say whether a model is called, or given to what only uses it; not if it goes where its mode may be set."""
    used = False
    for one in nodes:
        if not isinstance(one, ast.Name) or one.id != name or not isinstance(one.ctx, ast.Load):
            continue
        parent = analysis.parents[one]
        if isinstance(parent, ast.Call) and parent.func is one:
            used = True
        elif isinstance(parent, ast.Call):
            callee = analysis.call_at.get(parent)
            function = callee.function if callee is not None else None
            if not isinstance(function, Function) or "eval" in unparsed(function.node).replace("evaluat", ""):
                return False
            used = used or function.owner is None
        elif (
            not isinstance(parent, ast.Attribute)
            or parent.attr in ("apply", "children", "modules")
            or "eval" in parent.attr
        ):
            return False
    return used


def _is_the_same(analysis: Analysis, body: ast.AST, name: str) -> bool:
    return any(
        isinstance(one.target, ast.Name) and one.target.id == name and is_the_same_in_both_modes(one.value)
        for one in analysis.stores
        if (one.context.function.node if one.context.function is not None else analysis.source.tree) is body
    )
