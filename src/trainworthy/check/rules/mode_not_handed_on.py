"""`eval()` leaves a module, or a part of it, in training mode.

What it finds:
    A method `train(self, mode=True)` that calls `super().train()`, or `train()` of a part, without the mode; and one
    that calls `super().train(mode)` only under a condition about something else, or returns before it.

Why:
    `eval()` is `train(False)`: whatever it is asked for, such a method turns training mode on. Dropout and batch norm
    are then at work in every evaluation, and scores depend on what else is in the batch.

How sure:
    The method has a parameter for the mode whose default is True, and the call stands under no condition on it, nor
    after one that returns; nothing after it turns evaluation mode on where the mode is False. The condition asks for
    an attribute, and nothing in the class sets a mode in another way; it speaks of dropout or batch norm.

When it is wrong:
    The part has no layer that knows a mode, or is meant to be in training mode always.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, own, unparsed, variables, walk

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
        yield from _ignored(analysis, node, mode)
        for call in _calls_for_training(analysis, node, mode):
            yield Hit(
                place=analysis.place(call),
                message=f"`eval()` turns training mode on here: `{mode}` is not handed on",
                evidence=(Evidence("the method", analysis.place(node.args)),),
                fix=f"Write `train({mode})`.",
            )


_OF_A_MODE = re.compile(r"drop|batch_?norm|\bbn|norm_layer", re.IGNORECASE)
_SETS_A_MODE = re.compile(r"\.eval\(|\.training\s*=[^=]|\.train\(False|mode=False")


def _ignored(analysis: Analysis, method: ast.FunctionDef, mode: str) -> Iterator[Hit]:
    """Yield the condition, about something else, under which alone a module hands the mode to `super().train()`."""
    calls = [one for one in own(method) if isinstance(one, ast.Call) and last_name(one.func) == "train"]
    calls = [one for one in calls if isinstance(one.func, ast.Attribute) and _is_of_super(one.func.value)]
    cls = analysis.parents.get(method)
    if len(calls) != 1 or not isinstance(cls, ast.ClassDef) or mode not in variables(calls[0]):
        return
    tests = [one for one in own(method) if isinstance(one, ast.If | ast.IfExp | ast.While | ast.BoolOp | ast.Try)]
    guard = next((one for one in tests if isinstance(one, ast.If)), None)
    if guard is None or len(tests) != 1 or not _is_of_an_attribute(guard.test):
        return
    leaves = isinstance(guard.body[-1], ast.Return) and not any(one is calls[0] for one in walk(guard))
    text = "\n".join(analysis.segment(one) for one in cls.body if not _is_of_the_class(one))
    gated = not guard.orelse and any(one is calls[0] for one in walk(guard))
    attribute = next(one.attr for one in nodes_of(guard.test, ast.Attribute))
    before = re.search(rf"(\w+)\.eval\(\)\s*\n\s*\1\.{attribute}\s*=", analysis.source.text)
    if (gated or leaves) and not before and not _SETS_A_MODE.search(text) and _OF_A_MODE.search(text):
        unless = "unless" if gated else "if"
        yield Hit(
            place=analysis.place(calls[0]),
            message=f"`eval()` does nothing {unless} `{unparsed(guard.test)}`: the module stays in training mode",
            evidence=(Evidence("the condition", analysis.place(guard.test)),),
            fix=f"Hand on what turns it off in any case: `super().train({mode} and ...)`.",
            severity="warning",
        )


def _is_of_the_class(node: ast.stmt) -> bool:
    """Say whether a method makes or loads objects, and is called on none."""
    marks = getattr(node, "decorator_list", [])
    return any(last_name(one) in ("classmethod", "staticmethod") for one in marks)


def _is_of_super(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Call) and last_name(owner.func) == "super"


def _is_of_an_attribute(test: ast.expr) -> bool:
    """Say whether a condition is `self.name`, or that it is not."""
    test = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else test
    return isinstance(test, ast.Attribute) and unparsed(test.value) == "self" and test.attr != "training"


def _mode_of(node: ast.FunctionDef) -> str:
    """Name the parameter of a method that is a mode, with True as default; "" if there is none."""
    arguments, defaults = [*node.args.posonlyargs, *node.args.args], node.args.defaults
    if len(arguments) != 2 or len(defaults) != 1 or arguments[0].arg != "self" or arguments[1].arg not in _MODES:
        return ""
    return arguments[1].arg if isinstance(defaults[0], ast.Constant) and defaults[0].value is True else ""


def _decides(method: ast.FunctionDef, mode: str) -> bool:
    """Say whether a method leaves early for a mode, or sets evaluation mode by itself for one."""
    for one in own(method):
        if isinstance(one, ast.If | ast.IfExp) and mode in variables(one.test):
            inner = walk(one)
            sets = any(isinstance(each, ast.Call) and last_name(each.func) == "eval" for each in inner)
            if any(isinstance(each, ast.Return) for each in inner) or (sets and _is_for_evaluation(one, mode)):
                return True
    return False


def _is_for_evaluation(one: ast.If | ast.IfExp, mode: str) -> bool:
    """Say whether a condition has a branch for the mode of evaluation."""
    return bool(one.orelse) or (unparsed(one.test) != mode and f"not {mode}" in unparsed(one.test))


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
        if any(mode in variables(test) for test in tests):
            return True
    return False
