"""A module sets its parts before `nn.Module` is set up.

What it finds:
    `__init__` of a module that assigns layers to `self` and never calls `super().__init__()`, or has no `self`; also
    where `super().__init__` is named and not called, or called in a way that skips `nn.Module`. And
    `super(Base, self).__init__()` in a class below `Base`: it goes past the constructor of `Base`, which sets what the
    class reads and nothing else sets.

Why:
    `AttributeError: cannot assign module before Module.__init__() call`. Past a base, layers are missing, or a default
    of the class stands where the constructor would have put something else.

How sure:
    The only base is `nn.Module`, or a class of the project whose only base it is, and the assigned value is a layer or
    parameter. Past a base: attributes are set in plain sight, not with `setattr` or the like, and are
    read in the class's own methods and its forward pass, or in what they call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.passed_over import passed_over
from trainworthy.check.static.tree import nodes_of
from trainworthy.check.static.values import Function, Instance, ProjectClass, Ref, Value

BAD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):  # <- TW309
        self.linear = nn.Linear(4, 4)
"""

GOOD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
"""


@rule(code="TW309", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at constructors of modules."""
    for cls in analysis.classes:
        init = cls.members.get("__init__")
        if isinstance(init, Function):
            yield from _past_bases(analysis, cls, init)
        if not _is_only_a_module(cls) or not isinstance(init, Function) or not isinstance(init.node, ast.FunctionDef):
            continue
        arguments = init.node.args
        no_self = not (arguments.posonlyargs or arguments.args or arguments.vararg)
        early = _set_before(analysis, init)
        if no_self or early is not None or (not _setups(analysis, init.node) and _is_called(cls)):
            place = analysis.place(init.node)
            header = place._replace(end_line=place.line, end_column=(place.column or 1) + len("def __init__"))
            useless = None if no_self else _useless(analysis, init.node)
            yield Hit(
                place=header if useless is None else analysis.place(useless),
                message="`__init__` has no self"
                if no_self
                else "`nn.Module.__init__` never ran; calling the module fails",
                evidence=(Evidence("set here", analysis.place(early)),) if early is not None else (),
                fix="Write `def __init__(self, ...)`." if no_self else "Call `super().__init__()` first.",
            )


def _past_bases(analysis: Analysis, cls: ProjectClass, init: Function) -> Iterator[Hit]:
    """Look at constructors that go past one of a base."""
    for found in passed_over(cls, init):
        name, unset = found.base.node.name, found.unset
        more = f" and {len(unset) - 3} more" if len(unset) > 3 else ""
        words = ("it", "that") if len(unset) == 1 else ("them", "them")
        constructor = found.constructor if found.base.source is cls.source else None
        yield Hit(
            place=analysis.place(found.call),
            message=f"`super({name}, self)` goes past the constructor of {name}, which sets "
            f"{', '.join(unset[:3])}{more}; {cls.node.name} reads {words[0]}, and nothing else sets {words[1]}",
            evidence=(Evidence("does not run", analysis.place(constructor.node)),) if constructor is not None else (),
            fix="Write `super().__init__(...)`, with what the base's constructor asks for.",
        )


def _useless(analysis: Analysis, node: ast.AST) -> ast.AST | None:
    """Return what was meant to set up the module and does not: `super(Net, self)` or `super().__init__` alone."""
    for one in nodes_of(node, ast.Expr):
        if isinstance(one.value, ast.Call) and last_name(one.value.func) == "super":
            return one
    found = (one for one in nodes_of(node, ast.Attribute) if one.attr == "__init__" and _sets_up_nothing(analysis, one))
    return next(found, None)


def _is_only_a_module(cls: ProjectClass, depth: int = 8) -> bool:
    """Say whether a class has one base, and that is `nn.Module` or another such class."""
    base = cls.bases[0] if len(cls.bases) == 1 and not cls.node.keywords else None
    if isinstance(base, Ref):
        return base.name == "torch.nn.Module"
    plain = isinstance(base, ProjectClass) and not base.members.keys() & {"__new__", "__setattr__", "__post_init__"}
    return plain and isinstance(base, ProjectClass) and depth > 0 and _is_only_a_module(base, depth - 1)


def _is_called(cls: ProjectClass) -> bool:
    """Say whether a class has a forward pass and calls its parent in no other way."""
    calls = isinstance(cls.lookup("forward"), Function) and "__call__" not in cls.members
    return calls and ("'super'" not in ast.dump(cls.node)) and isinstance(cls.bases[0], Ref)


def _setups(analysis: Analysis, node: ast.AST) -> list[int]:
    """Return the lines that may set up the module."""
    names = ("__init__", "__dict__", "__setattr__")
    found = [one for one in nodes_of(node, ast.Attribute) if one.attr in names and not _sets_up_nothing(analysis, one)]
    handed = [one for one in nodes_of(node, ast.Call) if _hands_self_on(one)]
    return [one.lineno for one in (*found, *handed)]


def _sets_up_nothing(analysis: Analysis, node: ast.Attribute) -> bool:
    """Say whether `super().__init__` stands alone, uncalled, or skips `nn.Module`, or is of a `super` without self."""
    if isinstance(analysis.parents.get(node), ast.Expr):
        return True
    parent = node.value
    if not isinstance(parent, ast.Call) or not isinstance(parent.func, ast.Name) or parent.func.id != "super":
        return False
    skips = bool(parent.args) and full_name(analysis.source, parent.args[0]) == "torch.nn.Module"
    return skips or len(parent.args) == 1


def _hands_self_on(call: ast.Call) -> bool:
    """Say whether a call may set the module up: a function that gets it, or a method of it or of its parent."""
    if isinstance(call.func, ast.Name) and call.func.id in ("super", "setattr", "hasattr", "isinstance", "print"):
        return False
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    of_parent = isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
    handed = any(isinstance(one, ast.Name) and one.id == "self" for one in call.args)
    return handed or (of_parent and isinstance(call.func, ast.Attribute) and call.func.attr != "__init__")


def _set_before(analysis: Analysis, init: Function) -> ast.stmt | None:
    """Return where a layer or parameter is set before the line that sets up the module, if there is one."""
    first = min(_setups(analysis, init.node), default=None)
    for store in analysis.stores:
        here = store.context.function is not None and store.context.function.node is init.node
        owner, value = store.owner, store.value
        own = isinstance(owner, Instance) and owner.cls is init.owner
        early = first is None or store.node.lineno < first
        if here and own and early and (is_module(value) or _is_parameter(value)):
            return store.node
    return None


def _is_parameter(value: Value) -> bool:
    return isinstance(value, Instance) and value.type in ("torch.nn.Parameter", "torch.nn.parameter.Parameter")
