"""A method of `nn.Module` is replaced by one with another meaning.

What it finds:
    `train`, `eval`, `to`, `apply`, `parameters` and `state_dict` in a module, with parameters that torch's callers
    do not pass.

Why:
    `model.eval()` calls `self.train(False)`, and a parent calls `child.train(mode)`: a method `train(self, loader)`
    then runs with False as the loader, or fails.

How sure:
    The method has required arguments, or takes none where one is passed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
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
