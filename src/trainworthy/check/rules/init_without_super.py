"""A module sets its parts before `nn.Module` is set up.

What it finds:
    `__init__` of a module that assigns layers to `self` and never calls `super().__init__()`, or has no `self`.

Why:
    `AttributeError: cannot assign module before Module.__init__() call`.

How sure:
    The only base is `nn.Module`, and the assigned value is a layer or parameter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
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
        only_module = len(cls.bases) == 1 and isinstance(cls.bases[0], Ref) and cls.bases[0].name == "torch.nn.Module"
        if not only_module or not isinstance(init, Function) or not isinstance(init.node, ast.FunctionDef):
            continue
        arguments = init.node.args
        no_self = not (arguments.posonlyargs or arguments.args or arguments.vararg)
        if no_self or _assigns_before(analysis, init) or (not _setups(init.node) and _is_called(cls)):
            place = analysis.place(init.node)
            yield Hit(
                place=place._replace(end_line=place.line, end_column=(place.column or 1) + len("def __init__")),
                message="`__init__` has no self"
                if no_self
                else "`nn.Module.__init__` never ran; calling the module fails",
                fix="Write `def __init__(self, ...)`." if no_self else "Call `super().__init__()` first.",
            )


def _is_called(cls: ProjectClass) -> bool:
    """Say whether a class has a forward pass and calls its parent in no other way."""
    calls = isinstance(cls.members.get("forward"), Function) and "__call__" not in cls.members
    return calls and "'super'" not in ast.dump(cls.node)


def _setups(node: ast.AST) -> list[int]:
    """Return the lines that may set up the module."""
    names = ("__init__", "__dict__", "__setattr__")
    return [one.lineno for one in nodes_of(node, ast.Attribute) if one.attr in names]


def _assigns_before(analysis: Analysis, init: Function) -> bool:
    """Say whether a layer or parameter is set before the line that sets up the module, if there is one."""
    first = min(_setups(init.node), default=None)
    return any(
        store.context.function is not None
        and store.context.function.node is init.node
        and isinstance(store.owner, Instance)
        and store.owner.cls is init.owner
        and (is_module(store.value) or _is_parameter(store.value))
        and (first is None or store.node.lineno < first)
        for store in analysis.stores
    )


def _is_parameter(value: Value) -> bool:
    return isinstance(value, Instance) and value.type in ("torch.nn.Parameter", "torch.nn.parameter.Parameter")
