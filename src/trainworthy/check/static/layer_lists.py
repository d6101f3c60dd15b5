"""Plain lists of layers: how they are filled and used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TypeGuard

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.queries import PARAMETRISED, inner_modules
from trainworthy.check.static.tree import nodes_of, unparsed, variables, walk
from trainworthy.check.static.values import UNKNOWN, Instance, Sequence, Value


def is_batch_norm(init: ast.AST, name: str) -> bool:
    """Say whether an attribute is set to batch norm, or to what a function named for a norm makes."""
    for one in walk(init):
        if isinstance(one, ast.Assign) and any(unparsed(each) == f"self.{name}" for each in one.targets):
            made = [last_name(each.func).lower() for each in nodes_of(one.value, ast.Call)]
            return any("batchnorm" in each or "build_norm" in each or each == "norm_layer" for each in made)
    return False


def runs_through(cls: ast.AST, attribute: str, *, alone: bool = True) -> bool:
    """Say whether a method of a class goes through an attribute, be it beside others, and calls what it finds."""
    for one in walk(cls):
        if isinstance(one, ast.For | ast.comprehension):
            over = unparsed(one.iter)
            if over != f"self.{attribute}" and (alone or not re.search(rf"\bself\.{attribute}\b(?!\.)", over)):
                continue
            targets = variables(one.target)
            around = one if isinstance(one, ast.For) else cls
            if targets & {each.func.id for each in nodes_of(around, ast.Call) if _is_named(each.func)}:
                return True
        item = one.func if isinstance(one, ast.Call) and not alone else None
        if isinstance(item, ast.Subscript) and unparsed(item.value) == f"self.{attribute}":
            return True
    return False


def _is_named(node: ast.expr) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


_CALLED_SO = re.compile(
    r"(conv|linear|norm|block|layer|attention|attn|expert|embedding|rnn|lstm|gru|cell|encoder|decoder)"
    r"(\w*_?(class|cls|type|module|layer|block|unit|fn|func))?[0-9]*d?$|^(basic|res|residual|conv|dense|transformer)\w*$|"
    r"(rnn|layer|block|unit|cell|conv)\w*_?(map|dict|types|classes)?\[",
    re.IGNORECASE,
)


def is_called_a_layer(value: Value, node: ast.AST | None, cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a list holds objects of a class that is not at hand, but named as layers are, and they are called."""
    outside = isinstance(value, Instance) and value.cls is None and not value.type.startswith("torch.")
    if value is not UNKNOWN and not outside:
        return False
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        node = node.elt
    if isinstance(node, ast.List) and node.elts:
        node = node.elts[0]
    return is_named_as_a_layer(node) and runs_through(cls, attribute, alone=False)


def is_named_as_a_layer(node: ast.AST | None) -> bool:
    """Say whether a call makes something of sizes, by what layers with parameters are called."""
    if not isinstance(node, ast.Call) or not (node.args or node.keywords):
        return False
    name = unparsed(node.func) if isinstance(node.func, ast.Subscript) else last_name(node.func)
    return _CALLED_SO.search(name) is not None


def has_parameters(value: Value, analysis: Analysis, *, or_a_mode: bool = False, depth: int = 3) -> bool:
    """Say whether a module surely has parameters; or if asked, does something else in training mode."""
    if not is_module(value):
        return False
    types = PARAMETRISED | _WITH_A_MODE if or_a_mode else PARAMETRISED
    for one in inner_modules(value):
        classes = one.cls.order() if one.cls is not None else ()
        nodes = [node for cls in classes for node in walk(cls.node)]
        if one.type.rpartition(".")[2] in types or any(_is_made(node) for node in nodes):
            return True
        if or_a_mode and any(_asks_for_its_mode(node) for node in nodes):
            return True
        made = one.made_by.node if one.made_by is not None and depth else None
        parts = [each for each in walk(made)[1:] if isinstance(each, ast.Call)] if made is not None else []
        inner = [analysis.call_at.get(each) for each in parts]
        if any(each is not None and each.result is UNKNOWN and is_named_as_a_layer(each.node) for each in inner):
            return True
        if any(
            each is not None and has_parameters(each.result, analysis, or_a_mode=or_a_mode, depth=depth - 1)
            for each in inner
        ):
            return True
    return False


def _is_made(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) in PARAMETRISED | {"Parameter"}


def _asks_for_its_mode(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "training" and getattr(node.value, "id", "") == "self"


_WITH_A_MODE = frozenset(
    {"Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"}
)  # they never learn of eval()


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
    for one in analysis.operations:
        held = one.node.target if isinstance(one.node, ast.AugAssign) and isinstance(one.node.op, ast.Add) else None
        layer = _first_made(one.operands[1], analysis) if isinstance(held, ast.Attribute) else None
        if isinstance(held, ast.Attribute) and layer is not None:
            yield one.node, one.context, held, layer
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
    names = nodes_of(function.node, ast.Name) if function is not None else []
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
