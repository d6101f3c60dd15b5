"""A method of `nn.Module` is replaced by one with another meaning.

What it finds:
    `train`, `eval`, `to`, `apply`, `parameters` and `state_dict` in a module, with parameters that torch's callers
    do not pass; `train` or `eval` of a module with dropout or batch norm that does something else and leaves the mode
    as it is.

Why:
    `model.eval()` calls `self.train(False)`, and a parent calls `child.train(mode)`: a method `train(self, loader)`
    then runs with False as the loader, or fails. Where the mode is never switched, dropout stays active in evaluation.

How sure:
    The method has required arguments, or takes none where one is passed; or neither `train`, `eval` nor `training` is
    named in it. One that does nothing at all keeps a frozen model as it is, and is not reported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.tree import nodes_of
from trainworthy.check.static.values import Function, Instance, ProjectClass

BAD = """\
import torch.nn as nn


class Net(nn.Module):
    def train(self, loader, epochs):  # <- TW308
        pass
"""

GOOD = """\
import torch.nn as nn


class Net(nn.Module):
    def train(self, mode=True):
        return super().train(mode)

    def fit(self, loader, epochs):
        pass
"""


# How many positional arguments torch passes at most, and at least.
_CALLED_WITH = {"train": (0, 1), "eval": (0, 0), "parameters": (0, 0), "apply": (1, 1), "state_dict": (0, 0)}


@rule(code="TW308", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at methods of modules."""
    for cls in analysis.classes:
        if not _is_plain_module(cls):
            continue
        for name, (least, most) in _CALLED_WITH.items():
            method = cls.members.get(name)
            if not isinstance(method, Function) or not isinstance(method.node, ast.FunctionDef):
                continue
            required, allowed = _arity(method.node)
            if required > least or allowed < most:
                yield Hit(
                    place=_header(analysis, method.node),
                    message=f"`{name}` of nn.Module is replaced by a method that torch cannot call",
                    fix="Give it another name.",
                )
            elif name in ("train", "eval") and _keeps_the_mode(method.node) and _has_a_mode(cls):
                yield Hit(
                    place=_header(analysis, method.node),
                    message=f"`{name}` of nn.Module is replaced by a method that leaves the mode as it is",
                    fix=f"Give it another name, or call `super().{name}(...)` in it.",
                )


def _keeps_the_mode(node: ast.FunctionDef) -> bool:
    """Say whether a method does something, and nothing that could switch the mode of the module or of a part."""
    if all(map(_does_nothing, node.body)):
        return False
    named = {one.attr for one in nodes_of(node, ast.Attribute)} | {
        one.value for one in nodes_of(node, ast.Constant) if isinstance(one.value, str)
    }
    return not named & {"train", "eval", "training", "__dict__", "requires_grad", "requires_grad_"}


def _does_nothing(node: ast.stmt) -> bool:
    """Say whether a statement does nothing, or only says something."""
    if isinstance(node, ast.Return):
        return node.value is None or isinstance(node.value, ast.Name | ast.Constant)
    if isinstance(node, ast.Pass | ast.Raise | ast.Assert):
        return True
    value = node.value if isinstance(node, ast.Expr) else None
    func = value.func if isinstance(value, ast.Call) else None
    name = str(getattr(func, "id", getattr(func, "attr", "")))
    return isinstance(value, ast.Constant) or name in ("print", "warn", "warning", "info", "debug")


def _has_a_mode(cls: ProjectClass) -> bool:
    """Say whether a class or a base of it makes layers that differ in training."""
    calls = [call for one in cls.order() for call in nodes_of(one.node, ast.Call)]
    return any(_WITH_A_MODE.match(last_name(call.func)) for call in calls)


_WITH_A_MODE = re.compile(r"((Alpha)?Dropout|(Sync)?BatchNorm)([123]d)?$")


def _is_plain_module(cls: ProjectClass) -> bool:
    base = cls.outside_base()
    return base.startswith("torch.nn.") and is_module(Instance(base))


def _arity(node: ast.FunctionDef) -> tuple[int, float]:
    arguments = node.args
    positional = len(arguments.posonlyargs) + len(arguments.args) - 1
    required = positional - len(arguments.defaults)
    required += sum(default is None for default in arguments.kw_defaults)
    return max(required, 0), float("inf") if arguments.vararg else positional


def _header(analysis: Analysis, node: ast.FunctionDef) -> Place:
    place = analysis.place(node)
    width = len("def ") + len(node.name)
    return place._replace(end_line=place.line, end_column=(place.column or 1) + width)
