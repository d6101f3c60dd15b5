"""Tensors that a module fills as weights are filled, and keeps as plain attributes."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.facts import Context, Store
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.plain_tensors import is_filled, is_own
from trainworthy.check.static.tree import children, unparsed, walk
from trainworthy.check.static.values import ProjectClass

_Body = ast.FunctionDef | ast.AsyncFunctionDef
_MAKERS = frozenset("empty zeros ones randn rand full Tensor FloatTensor normal tensor".split())
_WEIGHTS = re.compile(
    r"(^|_)(weights?|bias(es)?|kernel|gamma|beta|embeddings?|embeds?|embed|emb|tokens?|table|lambdas?|scale|w|"
    r"params?|parameters?|prompts?|lora_[ab])(_|\d|$)|^[Ww]_?\w?$|_[Ww]\d?$"
)
_REGISTERS = frozenset({"register_parameter", "register_buffer", "Parameter", "Buffer", "setattr", "ParameterList"})


def is_set_up(context: Context) -> bool:
    """Say whether something stands in ``__init__``, or in a method of the same object that it calls."""
    function = context.function
    if function is None or function.name == "__init__":
        return function is not None
    callers = [one.context.function for one in context.callers]
    return any(one is not None and one.name == "__init__" and one.owner is function.owner for one in callers)


def filled_as_a_weight(store: Store, cls: ProjectClass, name: str) -> ast.AST | None:
    """Return where a new tensor that is called as weights are, and never registered, gets its numbers."""
    value = getattr(store.node, "value", None)
    while isinstance(value, ast.Call) and _is_an_initialiser(value) and value.args:
        value = value.args[0]
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute) or not _WEIGHTS.search(name):
        return None
    if value.func.attr not in _MAKERS or library_of(store.context.source, value.func.value) != "torch":
        return None
    filled: ast.AST | None = None if value is getattr(store.node, "value", None) else value
    for method in (one for one in cls.node.body if isinstance(one, _Body)):
        parents = {child: one for one in walk(method) for child in children(one)}
        for one in walk(method):
            if is_own(one, name):
                if _is_kept_elsewhere(one, store, parents):
                    return None
                in_place = is_filled(one, parents) and not isinstance(parents.get(one), ast.Subscript)
                filled = filled or (one if in_place else None)  # items of its own are those of a table
    return filled


def _is_an_initialiser(call: ast.Call) -> bool:
    return re.search(r"(^|\.)init\.\w+$|(normal|uniform)_$", unparsed(call.func)) is not None


def _is_kept_elsewhere(node: ast.Attribute, store: Store, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a use moves an attribute, binds it anew to something, or may register it."""
    parent = parents.get(node)
    if isinstance(parent, ast.Assign | ast.AnnAssign | ast.AugAssign) and not isinstance(node.ctx, ast.Load):
        value = parent.value
        none = isinstance(value, ast.Constant) and value.value is None
        return parent is not store.node and not none
    if isinstance(parent, ast.Attribute):
        return parent.attr in ("to", "cuda", "requires_grad_", "requires_grad", "detach", "type_as")
    while isinstance(parent, ast.List | ast.Tuple | ast.Starred | ast.keyword):
        parent = parents.get(parent)
    called = parent.func if isinstance(parent, ast.Call) else None
    return getattr(called, "attr", getattr(called, "id", "")) in _REGISTERS
