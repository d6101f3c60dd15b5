"""The mean over batches of means is not the mean over samples.

What it finds:
    In a function that evaluates (under `no_grad`, or after `eval()`): `total += loss.item()` in a loop over a
    loader, and `total / len(loader)` later.

Why:
    The last batch is smaller, and its samples weigh more: 50 samples in batches of 16 give the last two the weight of
    16.

How sure:
    Certain where the loader has a smaller last batch, which is not in the source; it often matters little. Silent with
    `drop_last=True`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
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
