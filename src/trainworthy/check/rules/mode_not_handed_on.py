"""`eval()` leaves a module, or a part of it, in training mode.

What it finds:
    A method `train(self, mode=True)` that calls `super().train()`, or `train()` of a part, without the mode.

Why:
    `eval()` is `train(False)`: whatever it is asked for, such a method turns training mode on. Dropout and batch norm
    are then at work in every evaluation, and scores depend on what else is in the batch.

How sure:
    The method has a parameter for the mode whose default is True, and the call stands under no condition on it, nor
    after one that returns; nothing after it turns evaluation mode on where the mode is False.

When it is wrong:
    The part has no layer that knows a mode, or is meant to be in training mode always.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import own, walk

BAD = """\
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))

    def train(self, mode=True):
        super().train()  # <- TW386
        self.stem.eval()
        return self

    def forward(self, x):
        return self.body(self.stem(x))
"""

GOOD = """\
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))

    def train(self, mode=True):
        super().train(mode)
        self.stem.eval()
        return self

    def forward(self, x):
        return self.body(self.stem(x))
"""

_MODES = frozenset({"mode", "training", "train", "is_training", "is_train", "train_mode", "training_mode", "flag"})


@rule(code="TW386", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at methods named `train` that have a mode."""
    if "torch" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.FunctionDef, []):
        mode = _mode_of(node) if isinstance(node, ast.FunctionDef) and node.name == "train" else ""
        if not mode or not isinstance(node, ast.FunctionDef) or _decides(node, mode):
            continue
        for call in _calls_for_training(analysis, node, mode):
            yield Hit(
                place=analysis.place(call),
                message=f"`eval()` turns training mode on here: `{mode}` is not handed on",
                evidence=(Evidence("the method", analysis.place(node.args)),),
                fix=f"Write `train({mode})`.",
            )


def _mode_of(node: ast.FunctionDef) -> str:
    """Name the parameter of a method that is a mode, with True as default; "" if there is none."""
    arguments, defaults = [*node.args.posonlyargs, *node.args.args], node.args.defaults
    if len(arguments) != 2 or len(defaults) != 1 or arguments[0].arg != "self" or arguments[1].arg not in _MODES:
        return ""
    return arguments[1].arg if isinstance(defaults[0], ast.Constant) and defaults[0].value is True else ""


def _decides(method: ast.FunctionDef, mode: str) -> bool:
    """Say whether a method leaves early for a mode, or sets evaluation mode by itself for one."""
    for one in own(method):
        if isinstance(one, ast.If | ast.IfExp) and _reads(one.test, mode):
            inner = walk(one)
            sets = any(isinstance(each, ast.Call) and last_name(each.func) == "eval" for each in inner)
            if any(isinstance(each, ast.Return) for each in inner) or (sets and _is_for_evaluation(one, mode)):
                return True
    return False


def _is_for_evaluation(one: ast.If | ast.IfExp, mode: str) -> bool:
    """Say whether a condition has a branch for the mode of evaluation."""
    return bool(one.orelse) or (ast.unparse(one.test) != mode and f"not {mode}" in ast.unparse(one.test))


def _calls_for_training(analysis: Analysis, method: ast.FunctionDef, mode: str) -> Iterator[ast.Call]:
    """Yield calls of `train` that get no mode, or always True, under no condition on the mode."""
    for one in own(method):
        if not isinstance(one, ast.Call) or not isinstance(one.func, ast.Attribute) or one.func.attr != "train":
            continue
        given = [*one.args, *(each.value for each in one.keywords)]
        if given and isinstance(given[0], ast.Name) and given[0].id == "self":  # nn.Module.train(self)
            given = given[1:]
        elif not _is_of_itself(one.func.value):
            continue
        fixed = all(isinstance(each, ast.Constant) and each.value is True for each in given)
        if fixed and not _is_under(analysis, one, method, mode):
            yield one


def _is_of_itself(owner: ast.expr) -> bool:
    """Say whether something is `super()`, or begins with `self`."""
    if isinstance(owner, ast.Call):
        return last_name(owner.func) == "super"
    return any(isinstance(one, ast.Name) and one.id == "self" for one in walk(owner))


def _is_under(analysis: Analysis, node: ast.AST, method: ast.FunctionDef, mode: str) -> bool:
    while node is not method:
        node = analysis.parents[node]
        tests = [node.test] if isinstance(node, ast.If | ast.IfExp | ast.While) else []
        if isinstance(node, ast.BoolOp):
            tests = node.values
        if any(_reads(test, mode) for test in tests):
            return True
    return False


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in walk(node))
