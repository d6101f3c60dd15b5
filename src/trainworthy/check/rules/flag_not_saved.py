"""A module starts itself from its first batch, and forgets in its checkpoint that it has.

What it finds:
    `if not self.initialized:` in `forward`, where `self.initialized = False` is a plain attribute of a module, and what
    follows writes into the module's parameters or buffers.

Why:
    The flag is in no state_dict: a model that is loaded starts anew with its first batch, and overwrites the weights
    that it was given.

How sure:
    Both the flag and the write are seen in the class. Silent if `load_state_dict`, `_load_from_state_dict` or
    `set_extra_state` is overridden, where the file sets the flag of another object, and where the write depends on
    something else, too: on training mode, or on whether the parameters are still 0.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
from torch import nn


class ActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.initialized = False

    def forward(self, x):
        if not self.initialized:  # <- TW647
            self.loc.data.copy_(-x.mean((0, 2, 3), keepdim=True))
            self.initialized = True
        return x + self.loc
"""
GOOD = """\
import torch
from torch import nn


class ActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(False))

    def forward(self, x):
        if not self.initialized:
            self.loc.data.copy_(-x.mean((0, 2, 3), keepdim=True))
            self.initialized.fill_(True)
        return x + self.loc
"""

_LOADS = frozenset(
    {"load_state_dict", "_load_from_state_dict", "set_extra_state", "_register_load_state_dict_pre_hook"}
)
_STATE = frozenset({"Parameter", "register_buffer", "register_parameter"})
_WRITES = frozenset("copy_ fill_ zero_ normal_ uniform_ set_ mul_ add_ sub_ div_".split())


@rule(code="TW647", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes with a plain flag."""
    if "torch" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.ClassDef, ()):
        if isinstance(node, ast.ClassDef):
            methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
            if "__init__" in methods and "forward" in methods and not _mentions(node, _LOADS):
                yield from _in_class(analysis, methods)


def _mentions(node: ast.AST, names: frozenset[str]) -> bool:
    return any(getattr(one, "name", getattr(one, "attr", "")) in names for one in walk(node))


def _in_class(analysis: Analysis, methods: dict[str, ast.FunctionDef]) -> Iterator[Hit]:
    flags, state = _flags(methods["__init__"]), _state(methods["__init__"])
    set_elsewhere = {
        target.attr
        for one in analysis.nodes.get(ast.Assign, ())
        for target in getattr(one, "targets", ())
        if isinstance(target, ast.Attribute) and not _of_self(target)
    }
    for test in walk(methods["forward"]):
        if (
            not isinstance(test, ast.If)
            or not isinstance(test.test, ast.UnaryOp)
            or not isinstance(test.test.op, ast.Not)
        ):
            continue
        name = _of_self(test.test.operand)
        if name not in flags:
            continue
        called = [methods[n] for one in test.body for n in _own_calls(one) if n in methods]
        parts = [*test.body, *called]
        written = next((one for part in parts for one in walk(part) if _writes(one) in state), None)
        if written is None or name in set_elsewhere or _depends(test.body, called, written):
            continue
        if any(_sets(one, name) for part in parts for one in walk(part)):
            yield Hit(
                place=analysis.place(test.test),
                message=f"`self.{name}` is in no state_dict: a model that is loaded starts anew with its first batch",
                evidence=(
                    Evidence("it is a plain attribute here", analysis.place(flags[name])),
                    Evidence("and this is written", analysis.place(written)),
                ),
                fix=f'self.register_buffer("{name}", torch.tensor(False)), and .fill_(True).',
            )


def _depends(body: list[ast.stmt], called: list[ast.FunctionDef], written: ast.AST) -> bool:
    """Say whether a write depends on training mode, or on what lets a method end before it."""
    for part in [*body, *called]:
        for one in walk(part):
            if _of_self(one) == "training":
                return True
            if isinstance(one, ast.Return | ast.Raise) and (part in body or one.lineno < getattr(written, "lineno", 0)):
                return True
    return False


def _flags(init: ast.FunctionDef) -> dict[str, ast.stmt]:
    """Return the attributes that are False at first."""
    return {
        name: one
        for one in nodes_of(init, ast.Assign)
        if isinstance(one.value, ast.Constant) and one.value.value is False
        for target in one.targets
        if (name := _of_self(target))
    }


def _state(init: ast.FunctionDef) -> set[str]:
    """Return the parameters and buffers, and the layers of torch, which have some."""
    found: set[str] = set()
    for one in walk(init):
        call = one.value if isinstance(one, ast.Assign) else one
        if isinstance(one, ast.Assign) and isinstance(call, ast.Call) and is_usual_name(call.func):
            found |= {_of_self(target) for target in one.targets if unparsed(call.func).startswith("nn.")}
        name = getattr(getattr(call, "func", None), "attr", getattr(getattr(call, "func", None), "id", ""))
        if name not in _STATE or not isinstance(call, ast.Call):
            continue
        if isinstance(one, ast.Assign):
            found |= {_of_self(target) for target in one.targets}
        elif call.args and isinstance(call.args[0], ast.Constant):
            found.add(str(call.args[0].value))
    return found - {""}


def _of_self(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self" else ""


def _own_calls(node: ast.AST) -> Iterator[str]:
    for one in walk(node):
        if isinstance(one, ast.Call) and _of_self(one.func):
            yield _of_self(one.func)


def _sets(node: ast.AST, name: str) -> bool:
    value = getattr(node, "value", None)
    is_true = isinstance(value, ast.Constant) and value.value is True
    return isinstance(node, ast.Assign) and is_true and any(_of_self(one) == name for one in node.targets)


def _writes(node: ast.AST) -> str:
    """Return the attribute of self into whose memory a statement or call writes; "" if it does not."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _WRITES:
        return _root(node.func.value)
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        if isinstance(target, ast.Subscript) or (isinstance(target, ast.Attribute) and target.attr == "data"):
            return _root(target)
    return ""


def _root(node: ast.expr) -> str:
    """Return the attribute of self that something is a part of: ``linear`` of ``self.linear.weight.data``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        if _of_self(node):
            return _of_self(node)
        node = node.value
    return ""
