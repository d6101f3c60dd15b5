"""A module or function of the project is called with too few or too many arguments.

What it finds:
    `net()` where `forward(self, x)` needs one argument, and the like for functions and constructors.

Why:
    TypeError, perhaps after an hour in the queue.

How sure:
    The definition is found, is not decorated, and the call has no `*` or `**`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place
from trainworthy.check.static.values import Function, Instance, ProjectClass

BAD = """\
import torch.nn as nn


class Net(nn.Module):
    def forward(self, x):
        return x


net = Net()
y = net()  # <- TW805
"""

GOOD = """\
import torch.nn as nn


class Net(nn.Module):
    def forward(self, x, mask=None):
        return x


net = Net()
y = net(1)
"""


@rule(code="TW805", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of modules, functions and classes of the project."""
    yield from _functions(analysis)
    for call in once_per_place(iter(analysis.method_calls("__call__"))):
        owner = call.owner
        if not isinstance(owner, Instance) or owner.cls is None or not is_module(owner) or call.starred:
            continue
        if owner.cls.lookup("__call__") is not None or not owner.cls.fully_known():
            continue
        if owner.made_by is None:  # known by its annotation only: it may be of a class that descends from that one
            continue
        forward = owner.cls.lookup("forward")
        if not isinstance(forward, Function) or forward.decorators or isinstance(forward.node, ast.Lambda):
            continue
        problem = _problem(forward.node, call)
        if problem and not _kinds_are_told_apart(call):
            where = forward.source.place(forward.node)
            header = where._replace(end_line=where.line, end_column=None)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`forward` of {owner.cls.node.name} {problem}",
                evidence=(Evidence("it is defined here", header),),
            )


def _functions(analysis: Analysis) -> Iterator[Hit]:
    """Yield calls of plain functions, and of classes, that cannot take their arguments."""
    for call in once_per_place(iter(analysis.all_calls)):
        if call.starred or call.context.source is not analysis.source:
            continue
        function, skipped = _called(call)
        if function is None or isinstance(function.node, ast.Lambda) or function.decorators:
            continue
        problem = _problem(function.node, call, skipped)
        if problem and _is_defined_once(function) and not _is_tried(call):
            where = function.source.place(function.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{_name(function)}` {problem}",
                evidence=(Evidence("it is defined here", where._replace(end_line=where.line, end_column=None)),),
            )


def _called(call: Call) -> tuple[Function | None, int]:
    """Return the function, or constructor, that a call runs, and how many of its parameters are not the call's."""
    if isinstance(call.owner, Function) and call.owner.owner is None:
        return call.owner, 0
    if isinstance(call.owner, Instance) and call.owner.cls is not None and call.method != "__call__":
        member = call.owner.cls.lookup(call.method) if call.owner.cls.fully_known() else None
        return (member, 1) if isinstance(member, Function) and member.owner is not None else (None, 0)
    cls = call.owner
    if not isinstance(cls, ProjectClass) or not isinstance(call.node.func, ast.Name):
        return None, 0
    if not cls.fully_known() or cls.node.decorator_list or cls.node.keywords or cls.lookup("__new__") is not None:
        return None, 0
    init = cls.lookup("__init__")
    return (init, 1) if isinstance(init, Function) else (None, 0)


def _name(function: Function) -> str:
    """Return what a call of a function names: its class, for a constructor."""
    return function.owner.node.name if function.owner is not None and function.name == "__init__" else function.name


def _is_defined_once(function: Function) -> bool:
    """Say whether a name is bound to one function only in its file: no other version for another library."""
    name = _name(function)
    holder = function.source.tree if function.owner is None or function.name == "__init__" else function.owner.node
    bound = [
        one
        for one in ast.walk(holder)
        if (isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and one.name == name)
        or (isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Load))
        or (isinstance(one, ast.alias) and (one.asname or one.name) == name)
    ]
    return len(bound) == 1


def _is_tried(call: Call) -> bool:
    """Say whether a call stands in a `try`, or below a test that may choose by version."""
    body = body_of(call.context)
    tried = any(call.node in ast.walk(one) for one in ast.walk(body) if isinstance(one, ast.Try))
    return tried or _kinds_are_told_apart(call)


def _kinds_are_told_apart(call: Call) -> bool:
    """Say whether the function calls the same thing in several ways, or asks what it is: each is for another class."""
    text = ast.unparse(call.node.func)
    for node in ast.walk(body_of(call.context)):
        if not isinstance(node, ast.Call) or node is call.node:
            continue
        if ast.unparse(node.func) in ("isinstance", "hasattr") and node.args and ast.unparse(node.args[0]) == text:
            return True
        if ast.unparse(node.func) == text and _form(node) != _form(call.node) and call.context.branches:
            return True
    return False


def _form(node: ast.Call) -> tuple[int, frozenset[str | None]]:
    return len(node.args), frozenset(one.arg for one in node.keywords)


def _problem(node: ast.FunctionDef | ast.AsyncFunctionDef, call: Call, skipped: int = 1) -> str:
    arguments = node.args
    names = [one.arg for one in [*arguments.posonlyargs, *arguments.args]][skipped:]
    given = len(call.node.args)
    if given > len(names) and arguments.vararg is None:
        return f"takes {len(names)} arguments and gets {given}"
    known = {*names, *[one.arg for one in arguments.kwonlyargs]}
    extra = [name for name in call.keywords if name not in known]
    if extra and arguments.kwarg is None:
        return f"has no argument `{extra[0]}`"
    required = names[: len(names) - len(arguments.defaults)] if arguments.defaults else names
    missing = [name for name in required[given:] if name not in call.keywords]
    if missing and arguments.vararg is None:
        return f"needs `{missing[0]}`"
    return ""
