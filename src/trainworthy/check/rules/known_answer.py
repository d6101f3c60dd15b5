"""A test whose answer is known beforehand.

What it finds:
    `full=full is not None` where `full` is a parameter with the default True or False; and a later branch of an `if`
    that compares a number with text (`self.factor == "linear"`, `factor=0.1`) where the first branch compares another
    setting (`self.method == "constant"`).

Why:
    A switch that is off is handed on as on; the schedule's warm-up is never reached.

How sure:
    The parameter's default is True or False and its annotation allows no None; the number comes from a parameter with a
    number as its default and is reckoned with in that branch, and the branches are of one `if`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, functions_of
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch


def log_likelihood(inverse, covariance, residual, logdet=False):
    return inverse(covariance, residual, logdet=logdet is not None)  # <- TW854


class Warmup(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, steps, factor=0.1, method="linear"):
        self.steps = steps
        self.factor = factor
        self.method = method
        super().__init__(optimizer)

    def get_lr(self):
        scale = 1.0
        if self.method == "constant":
            scale = self.factor
        elif self.factor == "linear":  # <- TW854
            scale = self.factor + (1 - self.factor) * self.last_epoch / self.steps
        return [one * scale for one in self.base_lrs]
"""

GOOD = """\
import torch


def log_likelihood(inverse, covariance, residual, logdet=False):
    return inverse(covariance, residual, logdet=logdet)


class Warmup(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer, steps, factor=0.1, method="linear"):
        self.steps = steps
        self.factor = factor
        self.method = method
        super().__init__(optimizer)

    def get_lr(self):
        scale = 1.0
        if self.method == "constant":
            scale = self.factor
        elif self.method == "linear":
            scale = self.factor + (1 - self.factor) * self.last_epoch / self.steps
        return [one * scale for one in self.base_lrs]
"""


@rule(code="TW854", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at arguments, and at branches."""
    if "torch" not in analysis.source.words:
        return
    yield from _handed_on(analysis)
    yield from _numbers_and_texts(analysis)


def _handed_on(analysis: Analysis) -> Iterator[Hit]:
    """Yield bools that are handed on as whether they are there."""
    asked = [
        keyword
        for keyword in analysis.nodes.get(ast.keyword, [])
        if isinstance(keyword, ast.keyword) and _asks_for_none(keyword.value) == keyword.arg
    ]
    for node in functions_of(analysis.nodes) if asked else ():
        flags = {name for name, default in _defaults(node) if isinstance(default.value, bool)}
        flags -= {one.id for one in nodes_of(node, ast.Name) if isinstance(one.ctx, ast.Store)}
        for keyword in asked:
            if keyword.arg in flags and node.lineno <= keyword.lineno <= (node.end_lineno or 0):
                yield Hit(
                    place=analysis.source.place(keyword.value),
                    message=f"`{keyword.arg}` is True or False, never None: this is always "
                    f"{isinstance(getattr(keyword.value, 'ops', [None])[0], ast.IsNot)}",
                    fix=f"Write `{keyword.arg}={keyword.arg}`.",
                )


def _asks_for_none(node: ast.expr) -> str:
    """Return the name of which an expression asks whether it is None."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot) and len(node.ops) == 1:
        nothing = isinstance(node.comparators[0], ast.Constant) and node.comparators[0].value is None
        return node.left.id if nothing and isinstance(node.left, ast.Name) else ""
    return ""


def _defaults(node: Def) -> Iterator[tuple[str, ast.Constant]]:
    """Yield the parameters that have a constant as their default and are not said to be None or text at times."""
    positional = [*node.args.posonlyargs, *node.args.args]
    every = [*zip(reversed(positional), reversed(node.args.defaults), strict=False)]
    every += [(one, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value]
    for one, default in every:
        said = unparsed(one.annotation) if one.annotation is not None else ""
        first = default.left if isinstance(default, ast.BinOp) else default  # of 1.0 / 3
        if isinstance(first, ast.Constant) and not any(word in said for word in ("None", "Optional", "str", "Any")):
            yield one.arg, first


def _numbers_and_texts(analysis: Analysis) -> Iterator[Hit]:
    """Yield later branches that compare a number with text, where an earlier one compares another thing with text."""
    for first in analysis.nodes.get(ast.If, []):
        branch = first.orelse[0] if isinstance(first, ast.If) and len(first.orelse) == 1 else None
        if not isinstance(first, ast.If) or not isinstance(branch, ast.If):
            continue
        method, number = _compared_with_text(first.test), _compared_with_text(branch.test)
        if not method or number in ("", method) or not _is_reckoned_with(branch, number):
            continue
        if number in _numbers(analysis, branch):
            yield Hit(
                place=analysis.source.place(branch.test),
                message=f"`{number}` is a number: it never equals a text",
                fix=f"Is `{method}` meant?",
            )


def _is_reckoned_with(branch: ast.If, number: str) -> bool:
    """Say whether a branch takes something for a number, and not for one or a word."""
    every = [inner for one in branch.body for inner in nodes_of(one, ast.BinOp)]
    return any(unparsed(side) == number for one in every for side in (one.left, one.right))


def _compared_with_text(node: ast.expr) -> str:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        text = isinstance(node.comparators[0], ast.Constant) and isinstance(node.comparators[0].value, str)
        return unparsed(node.left) if text and isinstance(node.left, ast.Name | ast.Attribute) else ""
    return ""


def _numbers(analysis: Analysis, node: ast.AST) -> set[str]:
    """Return what has a number as its default around a node: parameters, and attributes of that name."""
    found: set[str] = set()
    line = getattr(node, "lineno", 0)
    for cls in analysis.nodes.get(ast.ClassDef, []):
        if isinstance(cls, ast.ClassDef) and cls.lineno < line <= (cls.end_lineno or 0):
            makers = [one for one in cls.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
            found |= {f"self.{name}" for maker in makers for name, default in _defaults(maker) if _is_number(default)}
    for function in functions_of(analysis.nodes):
        if function.lineno < line <= (function.end_lineno or 0):
            found |= {name for name, default in _defaults(function) if _is_number(default)}
    return found


def _is_number(node: ast.Constant) -> bool:
    return isinstance(node.value, int | float) and not isinstance(node.value, bool)
