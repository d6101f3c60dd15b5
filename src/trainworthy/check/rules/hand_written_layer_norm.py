"""A layer normalisation that differs from `nn.LayerNorm`.

What it finds:
    `(x - mean) / (std + eps)` in a function or class named for a norm, where `std` is `x.std(..., keepdim=True)`
    without `unbiased=False` or `correction=0`. And a class named LayerNorm whose gain or bias is one number for all
    features: `nn.Parameter(torch.ones(1))`.

Why:
    `nn.LayerNorm` divides by the root of the biased variance plus eps. With 8 features the outputs differ by 0.13, with
    512 by 0.004: weights of one do not fit the other. With one gain for all features the layer can not weigh them.

How sure:
    Certain that the formula is another one. A model that is only ever used with it is as good. Rewards, sounds and
    pictures are standardised so, too, and no layer: nothing is said of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def norm(x, eps=1e-6):
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
    return (x - mean) / (std + eps)  # <- TW264
"""

GOOD = """\
import torch


def norm(x, eps=1e-6):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + eps)
"""


@rule(code="TW264", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at quotients of a difference and a sum with a standard deviation."""
    yield from _single_gains(analysis)
    if "std" not in analysis.source.words or "keepdim" not in analysis.source.words:
        return
    stds = {name for call in analysis.nodes.get(ast.Assign, ()) for name in _std_names(call)}
    layers = (one for one in walk(analysis.source.tree) if isinstance(one, _DEFINITIONS) and _NORM.search(one.name))
    for node in dict.fromkeys(inner for layer in layers for inner in walk(layer)):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div) or not _has_difference(node.left):
            continue
        below = node.right
        if isinstance(below, ast.BinOp) and isinstance(below.op, ast.Add):
            parts = (below.left, below.right)
            if any(_is_std(one) or (isinstance(one, ast.Name) and one.id in stds) for one in parts):
                yield Hit(
                    place=analysis.place(node),
                    message="`std` is unbiased and eps is added outside of the root: not what nn.LayerNorm computes",
                    fix="nn.LayerNorm, or x.var(-1, keepdim=True, unbiased=False).add(eps).sqrt().",
                )


def _single_gains(analysis: Analysis) -> Iterator[Hit]:
    """Yield parameters of one number in a class that is named LayerNorm and takes a mean over features."""
    if "Parameter" not in analysis.source.words:
        return
    for layer in analysis.nodes.get(ast.ClassDef, ()):
        named = isinstance(layer, ast.ClassDef) and re.search(r"layer_?norm", layer.name, re.IGNORECASE)
        if not named or not re.search(r"\.mean\((dim=)?-1", unparsed(layer)):
            continue
        for one in walk(layer):
            if isinstance(one, ast.Call) and getattr(one.func, "attr", getattr(one.func, "id", "")) == "Parameter":
                given = unparsed(one.args[0]) if one.args else ""
                if re.fullmatch(r"\w+\.(ones|zeros)\(1\)", given):
                    yield Hit(
                        place=analysis.place(one),
                        message="one number for all features: nn.LayerNorm has a gain and a bias for each",
                        fix="Give it as many numbers as there are features, or take nn.LayerNorm.",
                    )


_DEFINITIONS = ast.FunctionDef | ast.ClassDef
_NORM = re.compile(r"(layer_?norm|(^|_|[a-z])norm|^ln)(_?(1|2|3)d)?$", re.IGNORECASE)


def _has_difference(node: ast.expr) -> bool:
    return any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) for one in walk(node))


def _std_names(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        pairs = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        yield from (one.id for one, value in pairs if isinstance(one, ast.Name) and _is_std(value))


def _is_std(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "std":
        return False
    names = {one.arg for one in node.keywords}
    return "keepdim" in names and not names & {"unbiased", "correction", "ddof"}
