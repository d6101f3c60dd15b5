"""Plain lists of layers: how they are filled and used."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.tree import variables, walk
from trainworthy.check.static.values import Sequence, Value


def is_batch_norm(init: ast.AST, name: str) -> bool:
    """Say whether an attribute is set to batch norm, or to what a function named for a norm makes."""
    for one in walk(init):
        if isinstance(one, ast.Assign) and any(ast.unparse(each) == f"self.{name}" for each in one.targets):
            made = [last_name(each.func).lower() for each in walk(one.value) if isinstance(each, ast.Call)]
            return any("batchnorm" in each or "build_norm" in each or each == "norm_layer" for each in made)
    return False


def runs_through(cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a method of a class goes through an attribute and calls what it finds."""
    for one in walk(cls):
        if (
            isinstance(one, ast.For)
            and isinstance(one.target, ast.Name)
            and ast.unparse(one.iter) == f"self.{attribute}"
        ):
            called = {
                each.func.id for each in walk(one) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
            }
            if one.target.id in called:
                return True
    return False


def filled_later(analysis: Analysis) -> Iterator[tuple[ast.AST, Context, ast.Attribute, Value]]:
    """Yield what is appended to lists of modules, or stored in their dicts, by ``__init__``: where, to what, what."""
    for call in analysis.method_calls("append"):
        held = call.node.func.value if isinstance(call.node.func, ast.Attribute) else None
        if isinstance(held, ast.Attribute) and len(call.args) == 1 and _is_made_for_it(call):
            yield call.node, call.context, held, call.args[0]
    for call in analysis.method_calls("extend"):
        held = call.node.func.value if isinstance(call.node.func, ast.Attribute) else None
        layer = _first_made(call.args[0], analysis) if len(call.args) == 1 and _is_made_for_it(call) else None
        if isinstance(held, ast.Attribute) and layer is not None:
            yield call.node, call.context, held, layer
    for store in analysis.stores:
        held = store.target.value if isinstance(store.target, ast.Subscript) else None
        if isinstance(held, ast.Attribute) and isinstance(getattr(store.node, "value", None), ast.Call):
            yield store.node, store.context, held, store.value


def _first_made(value: Value, analysis: Analysis) -> Value | None:
    """Return the first of a list that is made where it stands."""
    if not isinstance(value, Sequence) or (value.items is not None and not made_in_place(value)):
        return None
    return analysis.element(value) if value.items is None else next(iter(value.items), None)


def _is_made_for_it(call: Call) -> bool:
    """Say whether what is appended is made there, or just before and kept under a name that nothing else uses."""
    given, function = call.node.args[0], call.context.function
    if not isinstance(given, ast.Name):
        return isinstance(given, ast.Call | ast.List | ast.ListComp | ast.GeneratorExp)
    names = [one for one in walk(function.node) if isinstance(one, ast.Name)] if function is not None else []
    uses = [one for one in names if one.id == given.id]
    loads = [one for one in uses if isinstance(one.ctx, ast.Load) and one is not given]
    return len(uses) - len(loads) == 2 and function is not None and all(_may_be_left_out(one, call) for one in loads)


def _may_be_left_out(use: ast.Name, call: Call) -> bool:
    """Say whether another use of a name stands in a branch that need not run where the layer is appended."""
    function = call.context.function
    for one in walk(function.node) if function is not None else ():
        if isinstance(one, ast.If) and any(each is use for each in walk(one)):
            sides = [one.body, one.orelse]
            reads = [any(use.id in variables(each) for each in side) for side in sides]
            if not all(reads) and not any(each is call.node for each in walk(one)):
                return True
    return False


def made_in_place(value: Sequence) -> bool:
    """Say whether everything in a list or dict is made where it stands."""
    node = value.node
    elements = node.values if isinstance(node, ast.Dict) else getattr(node, "elts", [])
    return all(isinstance(one, ast.Call) for one in elements)
