"""The mean of a single number: it was summed over everything before.

What it finds:
    `loss = -0.5 * torch.sum(x)` and then `torch.mean(loss)` in one function: the sum has no axis, so it leaves one
    number, whose mean is itself.

Why:
    What was meant as a mean over the batch is a sum over it: the term grows with the batch's size, and so does its
    weight beside the others.

How sure:
    Sure: both are written in one function, and the name has no other value. Sums of Python's own are not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed, scope_of, times_given
from trainworthy.check.static.libraries import is_usual_name, library_of
from trainworthy.check.static.source import Source

BAD = """\
import torch


def kl(mu, log_var):
    loss = -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp())
    return torch.mean(loss)  # <- TW225
"""
GOOD = BAD.replace("log_var.exp())", "log_var.exp(), dim=1)").replace("  # <- TW225", "")


@rule(code="TW225", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what means are taken of."""
    if "torch" not in analysis.source.words or not {"mean", "sum"} <= analysis.source.words:
        return
    for call in analysis.nodes.get(ast.Call, ()):
        subject = _subject(analysis.source, call, "mean") if isinstance(call, ast.Call) else None
        if subject is None:
            continue
        scope = scope_of(call, analysis.parents)
        if isinstance(subject, ast.Name) and times_given(scope, subject.id) != 1:
            continue
        made = followed(subject, scope)
        summed = _whole_sum(analysis.source, made)
        if summed is not None:
            yield Hit(
                place=analysis.place(call),
                message="the mean of one number is that number: it was summed over all axes before",
                evidence=(Evidence("it is summed here", analysis.place(summed)),),
                fix="Give the sum its axes (`dim=1`), or divide by the number of samples.",
            )


def _subject(source: Source, call: ast.Call, name: str) -> ast.expr | None:
    """Return what ``torch.mean(x)`` or ``x.mean()`` is of."""
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr != name:
        return None
    library = library_of(source, func.value)
    if library or is_usual_name(func.value):
        return call.args[0] if library == "torch" and call.args else None
    return func.value


def _whole_sum(source: Source, value: ast.expr) -> ast.Call | None:
    """Return the sum over all axes that a value is, perhaps times a number."""
    if isinstance(value, ast.UnaryOp):
        return _whole_sum(source, value.operand)
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult | ast.Div):
        sides = [value.left, value.right] if isinstance(value.op, ast.Mult) else [value.left]
        if not any(_is_number(one) for one in (value.left, value.right)):
            return None
        return next((found for one in sides if (found := _whole_sum(source, one)) is not None), None)
    if not isinstance(value, ast.Call) or _subject(source, value, "sum") is None:
        return None
    is_function = isinstance(value.func, ast.Attribute) and library_of(source, value.func.value) == "torch"
    alone = len(value.args) == int(is_function) and not {one.arg for one in value.keywords} - {"dtype"}
    return value if alone and (is_function or _is_of_tensors(value)) else None


def _is_of_tensors(call: ast.Call) -> bool:
    """Say whether ``(...).sum()`` is of a computation: a name may be a data frame's."""
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.BinOp | ast.UnaryOp)


def _is_number(node: ast.expr) -> bool:
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
