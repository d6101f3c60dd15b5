"""A loss or layer takes the square root of something that can be exactly zero.

What it finds:
    `F.mse_loss(a, b, reduction="none").mean(dim).sqrt()`, `torch.sqrt(((a - b) ** 2).sum(-1))`, and the like without an
    epsilon, in a loss; `x.var(dim).sqrt()` or the root of a mean square, in the `forward` of a module or in a function
    that normalises.

Why:
    The root's gradient at zero is infinite, and infinite times zero is not a number: one row that is predicted
    exactly, padded on both sides or compared with itself makes every weight NaN. A layer that divides by the root does
    so where its input is constant or zero, as padding is: zero by zero.

How sure:
    The value under the root is a mean or sum, over some of the axes, of squared differences or a squared error;
    nothing is added, clamped or masked before the root. In a module or where something is normalised, it is a variance
    or a mean of squares over some of the axes. Silent where gradients are off, and about a mean over
    everything, which is never exactly zero. `torch.norm` and `torch.cdist` have a gradient of zero at zero.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, followed, keyword, scope_of, subject
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch
import torch.nn.functional as F


def rmse_loss(prediction, target):
    error = F.mse_loss(prediction, target, reduction="none")
    return error.mean(dim=-1).sqrt().mean()  # <- TW238
"""

GOOD = """\
import torch
import torch.nn.functional as F


def rmse_loss(prediction, target):
    error = F.mse_loss(prediction, target, reduction="none")
    return (error.mean(dim=-1) + 1e-8).sqrt().mean()
"""

_QUIET = ("no_grad", "inference_mode", "detach", "numpy", "item", "set_grad_enabled")


@rule(code="TW238", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at square roots in losses."""
    if "torch" not in analysis.source.words or not analysis.source.words & {"sqrt", "sqrt_"}:
        return
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) != "sqrt" or _is_of_numpy(node):
            continue
        scope = scope_of(node, analysis.parents)
        under = subject(node)
        if under is None or _is_quiet(scope):
            continue
        loss = _is_a_loss(scope, analysis.parents) and _can_be_zero(followed(under, scope), scope)
        if loss or (_is_of_a_layer(scope, analysis.parents) and _is_a_spread(followed(under, scope), scope)):
            yield Hit(
                place=analysis.place(node),
                message="the root's gradient is infinite where this is exactly zero"
                if loss
                else "this is zero where the input is constant: the gradient is infinite, a quotient NaN",
                fix="Add an epsilon under the root.",
            )


def _is_of_numpy(node: ast.Call) -> bool:
    func = node.func
    return isinstance(func, ast.Name) or (isinstance(func, ast.Attribute) and unparsed(func.value) in ("np", "math"))


def _is_a_loss(scope: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a function computes a loss with gradients: it, or its class, is called so."""
    if not isinstance(scope, ast.FunctionDef):
        return False
    around = parents.get(scope)
    names = scope.name.lower() + (" " + around.name.lower() if isinstance(around, ast.ClassDef) else "")
    return any(word in names for word in ("loss", "criterion", "penalty"))


def _is_quiet(scope: ast.AST) -> bool:
    return any(str(getattr(one, "attr", "") or getattr(one, "id", "")) in _QUIET for one in walk(scope))


def _is_of_a_layer(scope: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a function is the forward of a module, or normalises, by its name."""
    if not isinstance(scope, ast.FunctionDef):
        return False
    around = parents.get(scope)
    if isinstance(around, ast.ClassDef):
        return scope.name == "forward" and bool(around.bases)
    return "norm" in scope.name.lower() and any(_divides_by_root(one) for one in walk(scope))


def _divides_by_root(node: ast.AST) -> bool:
    """Say whether something is divided by a root as it is: a norm alone is no danger where no gradients are."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and called(node.right) == "sqrt"


def _is_a_spread(node: ast.expr, scope: ast.AST) -> bool:
    """Say whether something is a variance, or a mean of squares, over some of the axes."""
    if not isinstance(node, ast.Call) or called(node) not in ("var", "mean"):
        return False
    if not arguments_after_subject(node) and keyword(node, "dim", "axis") is None:
        return False
    inner = subject(node)
    return called(node) == "var" or (inner is not None and _squared(followed(inner, scope)) is not None)


def _squared(node: ast.expr) -> ast.expr | None:
    """Return what is squared; None if nothing is."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return node.left if isinstance(node.right, ast.Constant) and node.right.value == 2 else None
    if not isinstance(node, ast.Call):
        return None
    two = called(node) == "square" or (called(node) == "pow" and "2" in map(unparsed, arguments_after_subject(node)))
    return subject(node) if two else None


def _can_be_zero(node: ast.expr, scope: ast.AST) -> bool:
    return _is_reduced_square(node, scope) or _is_cut_at_zero(node)


def _is_cut_at_zero(node: ast.expr) -> bool:
    """Say whether numbers below zero are set to zero: `clamp(min=0)`."""
    if not isinstance(node, ast.Call):
        return False
    if called(node) == "relu":
        return True
    least = keyword(node, "min") or next(iter(arguments_after_subject(node)), None)
    return called(node) in ("clamp", "clamp_min") and isinstance(least, ast.Constant) and least.value == 0


def _is_reduced_square(node: ast.expr, scope: ast.AST) -> bool:
    """Say whether something is the mean or sum, over some axes, of squares of a difference."""
    if not isinstance(node, ast.Call) or called(node) not in ("mean", "sum"):
        return False
    if not arguments_after_subject(node) and keyword(node, "dim", "axis") is None:
        return False
    inner = subject(node)
    return inner is not None and _is_square(followed(inner, scope), scope)


def _is_square(node: ast.expr, scope: ast.AST) -> bool:
    if called(node) == "mse_loss":
        return True
    of = _squared(node)
    return of is not None and _is_difference(followed(of, scope))


def _is_difference(node: ast.expr) -> bool:
    """Say whether something is a difference, or a gradient, which is zero where nothing changes."""
    if isinstance(node, ast.Name | ast.Attribute):
        return "grad" in unparsed(node).lower()
    if isinstance(node, ast.Call) and called(node) in ("view", "reshape", "flatten"):
        inner = subject(node)
        return inner is not None and _is_difference(inner)
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
