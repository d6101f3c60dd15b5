"""Which kinds of layers a statement initialises, by its text: loops over ``modules()`` and ``apply``."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, functions_of
from trainworthy.check.static.tree import unparsed, walk

ALL_KINDS = frozenset(
    "Linear Embedding LayerNorm Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d BatchNorm1d "
    "BatchNorm2d BatchNorm3d GroupNorm LSTM GRU".split()
)
_WHOLE = re.compile(r"^_?(init|initiali[sz]e|reset)_(model_)?(weights|parameters|params)$")
_FILLS = ("normal_", "uniform_", "fill_", "zero_", "constant_", "ones_", "zeros_", "orthogonal_", "reset_parameters")


def initialised_kinds(analysis: Analysis, function: Def, statement: ast.stmt) -> tuple[str, frozenset[str]] | None:
    """Return whose layers a statement initialises, and of which classes; None if it does nothing like it.

    It is a loop over ``x.modules()``, ``x.apply(f)``, or a method of the own class that consists of these.
    """
    if isinstance(statement, ast.For):
        holder = _modules_of(statement.iter)
        name = getattr(statement.target, "id", "")
        return (holder, _kinds_in(statement.body, name)) if holder and name else None
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return None
    if isinstance(call.func, ast.Name) and _WHOLE.match(call.func.id) and len(call.args) == 1:
        return unparsed(call.args[0]), ALL_KINDS
    if not isinstance(call.func, ast.Attribute):
        return None
    holder = unparsed(call.func.value)
    if call.func.attr == "apply" and len(call.args) == 1:
        return holder, _kinds_of(_applied(analysis, function, call.args[0]))
    if _WHOLE.match(call.func.attr) and not call.args and holder != "self":
        return holder, ALL_KINDS
    method = _method(analysis, function, call.func.attr) if holder == "self" else None
    if method is None or method is function:
        return None
    inner = [initialised_kinds(analysis, method, one) for one in method.body]
    kinds = frozenset().union(*(one[1] for one in inner if one is not None and one[0] == "self"))
    return ("self", kinds) if kinds else None


def _modules_of(node: ast.expr) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "modules":
        return unparsed(node.func.value)
    return ""


def _class_around(analysis: Analysis, function: Def) -> ast.ClassDef | None:
    around = analysis.parents.get(function)
    return around if isinstance(around, ast.ClassDef) else None


def _method(analysis: Analysis, function: Def, name: str) -> Def | None:
    around = _class_around(analysis, function)
    found = [one for one in around.body if isinstance(one, Def) and one.name == name] if around is not None else []
    return found[0] if found else None


def _applied(analysis: Analysis, function: Def, node: ast.expr) -> Def | None:
    """Return the function that ``apply`` gets."""
    if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
        return _method(analysis, function, node.attr)
    named = [one for one in functions_of(analysis.nodes) if one.name == getattr(node, "id", "")]
    return named[0] if len(named) == 1 else None


def _kinds_of(function: Def | None) -> frozenset[str]:
    if function is None or not function.args.args:
        return frozenset()
    return _kinds_in(function.body, function.args.args[-1].arg)


def _kinds_in(body: list[ast.stmt], name: str) -> frozenset[str]:
    """Return the classes of layers whose weight some statements set when they ask nothing but the class."""
    found: set[str] = set()
    for one in body:
        if isinstance(one, ast.Continue | ast.Return):
            return frozenset()
        branch: ast.stmt = one
        while isinstance(branch, ast.If):
            found |= _asked(branch.test, name) if _fills_weight(branch.body, name) else set()
            branch = branch.orelse[0] if len(branch.orelse) == 1 else ast.Pass()
        if isinstance(one, ast.For | ast.While | ast.Try):
            return frozenset()
    return frozenset(found)


def _asked(test: ast.expr, name: str) -> set[str]:
    """Return the classes of an ``isinstance`` or of ``type(m) == ...`` that stands alone."""
    if isinstance(test, ast.Call) and getattr(test.func, "id", "") == "isinstance" and len(test.args) == 2:
        asked = getattr(test.args[1], "elts", [test.args[1]]) if unparsed(test.args[0]) == name else []
        return {unparsed(one).rpartition(".")[2] for one in asked}
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and unparsed(test.left) == f"type({name})":
        asked = getattr(test.comparators[0], "elts", [test.comparators[0]])
        return {unparsed(one).rpartition(".")[2] for one in asked}
    return set()


def _fills_weight(body: list[ast.stmt], name: str) -> bool:
    """Say whether statements without a further condition initialise ``m.weight``."""
    for statement in body:
        for one in walk(statement) if isinstance(statement, ast.Expr) else ():
            if not isinstance(one, ast.Call):
                continue
            called = getattr(one.func, "attr", getattr(one.func, "id", ""))
            if called.endswith(_FILLS) and (f"{name}.weight" in unparsed(one) or called == "reset_parameters"):
                return True
    return False
