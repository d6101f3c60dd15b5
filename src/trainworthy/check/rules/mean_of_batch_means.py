"""The mean over batches of means is not the mean over samples.

What it finds:
    In a function that evaluates (under `no_grad`, or after `eval()`): `total += loss.item()` in a loop over a
    loader, and `total / len(loader)` later; and a list of losses or accuracies of batches whose mean is taken later,
    where the loop is over a loader, or over batches that a function of the file cuts as they come.

Why:
    The last batch is smaller, and its samples weigh more: 50 samples in batches of 16 give the last two the weight of
    16.

How sure:
    Certain where the loader has a smaller last batch, which is not in the source; it often matters little. Silent with
    `drop_last=True`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of, subject
from trainworthy.check.static.batch_means import is_batch_mean, stripped
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.queries import names_in
from trainworthy.check.static.tree import nodes_of, walk

BAD = """\
import torch
import torch.nn.functional as F


def evaluate(model, loader):
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
    return total / len(loader)  # <- TW565
"""

GOOD = """\
import torch
import torch.nn.functional as F


def evaluate(model, loader):
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += F.cross_entropy(model(x), y, reduction="sum").item()
    return total / len(loader.dataset)
"""


@rule(code="TW565", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that evaluate."""
    words = analysis.source.words
    if "drop_last" in words or not words & {"no_grad", "inference_mode", "eval"}:
        return
    for function in analysis.nodes.get(ast.FunctionDef, ()):
        if not isinstance(function, ast.FunctionDef) or not _evaluates(function):
            continue
        for loop in walk(function):
            loader = loop.iter if isinstance(loop, ast.For) else None
            loader = loader.args[0] if isinstance(loader, ast.Call) and loader.args else loader
            if isinstance(loop, ast.For) and isinstance(loader, ast.Name):
                sums = set(_sums_of_means(loop))
                yield from _quotients(analysis, function, sums, loader.id)
    if not _ONE_BY_ONE.search(analysis.source.code):
        yield from _lists_of_means(analysis)


def _evaluates(function: ast.FunctionDef) -> bool:
    attributes = {one.attr for one in nodes_of(function, ast.Attribute)}
    return bool(attributes & {"no_grad", "inference_mode", "eval"}) and "backward" not in attributes


def _sums_of_means(loop: ast.For) -> Iterator[str]:
    for one in walk(loop):
        if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add) and isinstance(one.target, ast.Name):
            names = names_in(one.value)
            product = any(isinstance(getattr(n, "op", None), ast.Mult) for n in walk(one.value))
            summed = any(isinstance(n, ast.Constant) and n.value == "sum" for n in walk(one.value))
            if not product and not summed and any("loss" in n.lower() or "cross_entropy" in n for n in names):
                yield one.target.id


def _quotients(analysis: Analysis, function: ast.FunctionDef, sums: set[str], loader: str) -> Iterator[Hit]:
    for one in walk(function):
        divided = _divided(one)
        if divided is None:
            continue
        top, below = divided
        if getattr(top, "id", "") in sums and _is_length_of(below, loader):
            yield Hit(
                place=analysis.place(one),
                message=f"means of batches are added and divided by the number of batches of `{loader}`: a "
                f"smaller last "
                "batch weighs as much as a full one",
                fix="Add loss.item() * len(x), and divide by the number of samples.",
            )


def _is_length_of(node: ast.expr, name: str) -> bool:
    if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "len" or len(node.args) != 1:
        return False
    return getattr(node.args[0], "id", "") == name


def _divided(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return node.left, node.right
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
        return node.target, node.value
    return None


_ONE_BY_ONE = re.compile(r"batch_?size\w*\s*=\s*1\b", re.IGNORECASE)
_LOADER = re.compile(r"loader|(^|_)(dl|batches)$", re.IGNORECASE)
_NO_GRAD = frozenset({"no_grad", "inference_mode"})


def _lists_of_means(analysis: Analysis) -> Iterator[Hit]:
    """Look at lists of the means of batches, whose mean is taken."""
    for loop in nodes_of(analysis.source.tree, ast.For):
        if not _is_over_batches(analysis, loop) or not _is_an_evaluation(analysis, loop):
            continue
        scope = scope_of(loop, analysis.parents)
        lists = {
            one.func.value.id
            for one in nodes_of(loop, ast.Call)
            if isinstance(one.func, ast.Attribute)
            and one.func.attr == "append"
            and isinstance(one.func.value, ast.Name)
            and len(one.args) == 1
            and _is_mean(analysis, scope, one.args[0])
        }
        for node in walk(scope) if lists else ():
            if getattr(node, "lineno", 0) > (loop.end_lineno or 0) and _averaged(node) in lists:
                yield Hit(
                    place=analysis.place(node),
                    message="the mean of the means of batches: a smaller last batch weighs as much as a full one",
                    fix="Add up sums, and divide by the number of samples.",
                )
                break


def _is_over_batches(analysis: Analysis, loop: ast.For) -> bool:
    """Say whether a loop is over a loader by its name, or over lists that a generator of the file fills and yields."""
    of = loop.iter
    if isinstance(of, ast.Call) and called(of) in ("enumerate", "tqdm") and of.args:
        of = of.args[0]
    if not isinstance(of, ast.Call) or not isinstance(of.func, ast.Name):
        return bool(_LOADER.search(str(getattr(of, "id", getattr(of, "attr", "")))))
    for function in functions_of(analysis.nodes):
        if function.name == of.func.id:
            yielded = {getattr(one.value, "id", "") for one in nodes_of(function, ast.Yield)}
            calls = nodes_of(function, ast.Call)
            return any(called(one) == "append" and getattr(subject(one), "id", "") in yielded for one in calls)
    return False


def _is_an_evaluation(analysis: Analysis, loop: ast.For) -> bool:
    """Say whether a loop stands under `no_grad`, in a function that says so, or in one that evaluates."""
    node: ast.AST = loop
    while (node := analysis.parents.get(node, analysis.source.tree)) is not analysis.source.tree:
        if isinstance(node, ast.With) and any(_NO_GRAD & names_in(one.context_expr) for one in node.items):
            return True
        if isinstance(node, ast.FunctionDef):
            return _evaluates(node)
    return False


def _is_mean(analysis: Analysis, scope: ast.AST, node: ast.expr) -> bool:
    """Say whether an expression is the mean of a batch, or the accuracy in one."""
    if is_batch_mean(analysis, scope, node):
        return True
    value = stripped(followed(stripped(node), scope))
    inner = followed(stripped(value.func.value), scope) if _is_plain_mean(value) else None  # type: ignore[attr-defined]
    return isinstance(inner, ast.Compare)


def _is_plain_mean(node: ast.expr) -> bool:
    plain = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args and not node.keywords
    return plain and called(node) == "mean"


def _averaged(node: ast.AST) -> str:
    """Name the list that an expression is the mean of: `np.mean(x)`, `torch.stack(x).mean()`, `sum(x) / len(x)`."""
    of: ast.expr | None = None
    if isinstance(node, ast.Call) and called(node) == "mean" and not node.keywords:
        of = subject(node)
        of = subject(of) if isinstance(of, ast.Call) and called(of) in ("stack", "tensor", "array") else of
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.left, ast.Call):
        lengths = isinstance(node.right, ast.Call) and called(node.right) == "len" and called(node.left) == "sum"
        of = node.left.args[0] if lengths and node.left.args else None
        same = isinstance(node.right, ast.Call) and [getattr(one, "id", "") for one in node.right.args]
        of = of if of is not None and same == [getattr(of, "id", " ")] else None
    return of.id if isinstance(of, ast.Name) else ""
