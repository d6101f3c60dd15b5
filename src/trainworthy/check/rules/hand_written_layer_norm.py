"""A layer normalisation that differs from `nn.LayerNorm`.

What it finds:
    `(x - mean) / (std + eps)` in a function or class named for a norm, where `std` is `x.std(..., keepdim=True)`
    without `unbiased=False` or `correction=0`. And a class named LayerNorm whose gain or bias is one number for all
    features: `nn.Parameter(torch.ones(1))`. On a rehearsal, however it is written: activations minus their mean,
    divided by a standard deviation that eps was added to, and multiplied by a parameter.

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

from trainworthy.check.dry.rows import place_of
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.tape.record import Op, Tape

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


DRY_BAD = """\
import torch
from torch import nn

gain, layer = nn.Parameter(torch.ones(6)), nn.Linear(6, 6)
optimizer = torch.optim.SGD([gain, *layer.parameters()], lr=0.1)
for step in range(3):
    h = layer(torch.rand(8, 6))
    spread, middle = torch.var_mean(h, -1, keepdim=True)
    h = gain * ((h - middle) / (spread.sqrt() + 1e-6))  # <- TW264
    loss = h.pow(3).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
DRY_GOOD = """\
import torch
from torch import nn

gain, layer = nn.Parameter(torch.ones(6)), nn.Linear(6, 6)
optimizer = torch.optim.SGD([gain, *layer.parameters()], lr=0.1)
for step in range(3):
    h = layer(torch.rand(8, 6))
    spread, middle = torch.var_mean(h, -1, correction=0, keepdim=True)
    h = gain * ((h - middle) * torch.rsqrt(spread + 1e-6))
    loss = h.pow(3).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW264", severity="hint", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Follow standard deviations on the tape of the reference step."""
    if not any(one.name.partition(".")[0] in ("std", "std_mean", "var", "var_mean") for one in tape.signatures):
        return
    norms = _Norms()
    for op in tape.ops:
        if op.step == tape.reference_step and op.phase in ("forward", "loss") and op.inputs and op.outputs:
            divided = norms.see(op)
            if divided is not None:
                yield Hit(
                    place=place_of(divided.source, tape),
                    message="eps is added to the standard deviation, outside of the root: not what nn.LayerNorm "
                    "computes",
                    fix="nn.LayerNorm, or x.var(-1, keepdim=True, unbiased=False).add(eps).sqrt().",
                )


class _Norms:
    """Which storages hold a variance, a standard deviation, one with eps, and what was divided by such."""

    def __init__(self) -> None:
        self._variances: set[int] = set()
        self._deviations: set[int] = set()
        self._with_eps: set[int] = set()
        self._divided: dict[int, Op] = {}

    def see(self, op: Op) -> Op | None:
        """Follow one operation; return the division whose result it multiplies by a parameter."""
        name, first, result = op.name.partition(".")[0].rstrip("_"), op.inputs[0], op.outputs[0].storage
        if name in ("std", "std_mean", "var", "var_mean"):
            if first.kind != "parameter" and _of_each_sample(first.shape, op.outputs[0].shape):
                (self._deviations if name.startswith("std") else self._variances).add(result)
        elif name == "sqrt" and first.storage in self._variances:
            self._deviations.add(result)
        elif name == "add" and len(op.inputs) == 1 and first.storage in self._deviations:
            self._with_eps.add(result)
        elif name == "div" and len(op.inputs) == 2 and op.inputs[1].storage in self._with_eps:
            self._divided[result] = op
        elif name in ("mul", "addcmul") and {t.kind for t in op.inputs} & {"parameter"}:
            return next((self._divided[t.storage] for t in op.inputs if t.storage in self._divided), None)
        return None


def _of_each_sample(shape: tuple[int, ...], result: tuple[int, ...]) -> bool:
    """Tell whether a reduction kept an axis as 1, and the first axis as it was."""
    return len(shape) == len(result) > 1 and shape[0] == result[0] and shape != result
