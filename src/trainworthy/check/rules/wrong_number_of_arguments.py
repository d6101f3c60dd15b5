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
from trainworthy.check.static.values import Function, Instance

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
    """Look at calls of modules of the project."""
    for call in once_per_place(iter(analysis.method_calls("__call__"))):
        owner = call.owner
        if not isinstance(owner, Instance) or owner.cls is None or not is_module(owner) or call.starred:
            continue
        if owner.made_by is None:  # only an annotation names it, and a descendant's forward may take other arguments
            continue
        if owner.cls.lookup("__call__") is not None or not owner.cls.fully_known():
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


def _problem(node: ast.FunctionDef | ast.AsyncFunctionDef, call: Call) -> str:
    arguments = node.args
    names = [one.arg for one in [*arguments.posonlyargs, *arguments.args]][1:]
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
