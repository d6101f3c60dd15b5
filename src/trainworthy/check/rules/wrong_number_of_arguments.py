"""A module or function of the project is called with too few or too many arguments.

What it finds:
    `net()` where `forward(self, x)` needs one argument, and the like for functions, methods and classes.

Why:
    TypeError, perhaps after an hour in the queue.

How sure:
    The definition is found, is not decorated, and the call has no `*` or `**`. Silent about `cls(...)`, classes with
    a base that a function was given, such whose constructor a decorator or a base from elsewhere may give, functions
    that only raise, and calls that a test expects to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.attributes import overridden_elsewhere
from trainworthy.check.static.bindings import is_stub
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, called_function, is_expected_to_raise, names_in, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Function, Instance, ProjectClass, Ref

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
    """Look at calls of modules and functions of the project."""
    for call in once_per_place(iter(analysis.all_calls)):
        function = called_function(call)
        if function is None or call.starred or function.decorators or isinstance(function.node, ast.Lambda):
            continue
        if call.context.source is not analysis.source or not _is_surely_called(function, call):
            continue
        problem = _problem(function, call)
        if problem and _is_what_runs(function, call) and not _is_tried(call, analysis):
            where = function.source.place(function.node)
            header = where._replace(end_line=where.line, end_column=None)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"{_called(function)} {problem}",
                evidence=(Evidence("it is defined here", header),),
            )


def _called(function: Function) -> str:
    owner = function.owner.node.name if function.owner is not None else ""
    if function.name == "forward":
        return f"`forward` of {owner}"
    return f"`{owner}`" if function.name == "__init__" else f"`{function.name}`"


def _is_surely_called(function: Function, call: Call) -> bool:
    """Say whether a function is what runs, with the object before the arguments if it is a method."""
    if isinstance(function.node, ast.Lambda) or is_stub(function.node):
        return False
    owner = function.owner
    if owner is None:
        return True
    if not owner.fully_known() or not function.node.args.args or function.node.args.args[0].arg != "self":
        return False
    if _is_only_annotated(call):
        return False
    if call.method == "__call__":
        cls = call.owner.cls if isinstance(call.owner, Instance) else None
        return cls is not None and is_module(call.owner) and cls.lookup("__call__") is None and cls.fully_known()
    if function.name == "__init__":
        made = call.result.cls if isinstance(call.result, Instance) and call.result.made_by is call else None
        if made is None or getattr(call.node.func, "id", "") == "cls":  # which may be a class that descends from it
            return False
        if made.lookup("__new__") is not None or _may_be_generated(made, owner):
            return False
        return made.fully_known() and _has_its_own_bases(made) and not _comes_after_outside(made, owner)
    return isinstance(call.owner, Instance) and getattr(call.node.func, "attr", "") == function.name


def _may_be_generated(made: ProjectClass, owner: ProjectClass) -> bool:
    """Say whether a decorator may give a class a constructor of its own, as that of data classes does."""
    below = made.order()[: made.order().index(owner)]
    return any(one.node.decorator_list for one in below)


def _comes_after_outside(made: ProjectClass, owner: ProjectClass) -> bool:
    """Say whether a base from outside of the project, which may have a constructor, comes before the project's own."""
    for one in made.order()[: made.order().index(owner)]:
        for base in one.bases:
            if isinstance(base, ProjectClass) and owner in base.order():
                break
            if isinstance(base, Ref) and base.name not in _WITHOUT_CONSTRUCTOR:
                return True
    return False


_WITHOUT_CONSTRUCTOR = frozenset(
    "builtins.object abc.ABC typing.Generic typing.Protocol torch.utils.data.Dataset torch.utils.data.IterableDataset "
    "torch.utils.data.dataset.Dataset".split()
)


def _is_only_annotated(call: Call) -> bool:
    """Say whether nothing but an annotation names the object's class: what is given may be of a descendant."""
    receiver = call.node.func if call.method == "__call__" else getattr(call.node.func, "value", None)
    return isinstance(call.owner, Instance) and call.owner.made_by is None and getattr(receiver, "id", "") != "self"


def _has_its_own_bases(cls: ProjectClass) -> bool:
    """Say whether the bases are the classes that they are called: one that a function was given may be any."""
    named = zip(cls.bases, cls.node.bases, strict=False)
    return all(not isinstance(base, ProjectClass) or base.node.name in names_in(node) for base, node in named)


def _is_defined_once(function: Function) -> bool:
    """Say whether a name is bound to one function only in its file: no other version for another library."""
    name = function.owner.node.name if function.owner is not None and function.name == "__init__" else function.name
    holder = function.source.tree if function.owner is None or function.name == "__init__" else function.owner.node
    bound = [
        one
        for one in walk(holder)
        if (isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and one.name == name)
        or (isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Load))
        or (isinstance(one, ast.alias) and (one.asname or one.name) == name)
    ]
    return len(bound) == 1


def _is_what_runs(function: Function, call: Call) -> bool:
    """Say whether a function has its name alone, is not replaced by hand, and no descendant has another."""
    owner = function.owner
    if owner is None or not _is_defined_once(function):
        return owner is None and _is_defined_once(function)
    replaced = any(
        isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and one.attr == function.name
        and getattr(one.value, "id", getattr(one.value, "attr", "")) == owner.node.name
        for one in walk(call.context.source.tree)
    )
    receiver = call.node.func.value if isinstance(call.node.func, ast.Attribute) else None
    of_self = isinstance(call.owner, Instance) and call.owner.made_by is None and getattr(receiver, "id", "") == "self"
    return not replaced and not (of_self and overridden_elsewhere(call.context.source.path, owner, function.name))


def _is_tried(call: Call, analysis: Analysis) -> bool:
    """Say whether a call stands in a `try`, is to raise, or is below a test that may choose by version."""
    if is_expected_to_raise(call.node, analysis.parents):
        return True
    body = body_of(call.context)
    tried = any(call.node in walk(one) for one in nodes_of(body, ast.Try))
    return tried or _kinds_are_told_apart(call)


def _kinds_are_told_apart(call: Call) -> bool:
    """Say whether the function calls the same thing in several ways, or asks what it is: each is for another class."""
    text = unparsed(call.node.func)
    for node in walk(body_of(call.context)):
        if not isinstance(node, ast.Call) or node is call.node:
            continue
        if unparsed(node.func) in ("isinstance", "hasattr") and node.args and unparsed(node.args[0]) == text:
            return True
        if unparsed(node.func) == text and _form(node) != _form(call.node) and call.context.branches:
            return True
    return False


def _form(node: ast.Call) -> tuple[int, frozenset[str | None]]:
    return len(node.args), frozenset(one.arg for one in node.keywords)


def _problem(function: Function, call: Call) -> str:
    arguments = function.node.args
    names = [one.arg for one in [*arguments.posonlyargs, *arguments.args]][function.owner is not None :]
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
