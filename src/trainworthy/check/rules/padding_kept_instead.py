"""Padding is kept and the rest left out: the two sides are the wrong way round.

What it finds:
    `(prediction == target)[target == pad].float().mean()`, or the same with the mask under a name; and
    `x[i, :length] = 0` for each `length` of a batch, in a function that is given `x`.

Why:
    An accuracy over the padding says nothing of the tokens; input that is zeroed up to its length is all gone.

How sure:
    The mask is a comparison with something called pad by `==`, and what it selects is summed up or averaged. What is
    zeroed is a parameter of the function, and is called neither mask nor label.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around, functions_of
from trainworthy.check.static.masks import is_zero
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


def accuracy(decoded, target, pad):
    mask = target == pad
    return (decoded == target)[mask].float().mean()  # <- TW243


def cleared(x, lengths):
    for i, length in enumerate(lengths):
        x[i, :length] = 0  # <- TW243
    return x
"""

GOOD = """\
import torch


def accuracy(decoded, target, pad):
    mask = target != pad
    return (decoded == target)[mask].float().mean()


def cleared(x, lengths):
    for i, length in enumerate(lengths):
        x[i, length:] = 0
    return x
"""

_PAD = re.compile(r"(^|_)pad(ding)?(_|$)|(^|_)pad_?(id|idx|token|index|value)", re.IGNORECASE)
_LENGTHS = re.compile(r"len(gth)?s?($|_)", re.IGNORECASE)
_NOT_DATA = re.compile(r"mask|pad|attn|atten|label|weight|target|valid|score|bias|ind|loss", re.IGNORECASE)
_SUMS = frozenset({"mean", "sum"})


@rule(code="TW243", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that know of padding or lengths."""
    words = analysis.source.words
    if "torch" not in words or not any("pad" in one.lower() or "len" in one.lower() for one in words):
        return
    if any("pad" in one.lower() for one in words):
        for function in functions_of(analysis.nodes):
            yield from _only_padding(analysis, bindings_of(function))
    for loop in analysis.nodes.get(ast.For, []):
        lengths = _length_names(loop) if isinstance(loop, ast.For) else set()
        around = function_around(analysis.parents, loop) if lengths else None
        if around is not None and isinstance(loop, ast.For):
            yield from _zeroed(analysis, bindings_of(around), loop, lengths)


def _only_padding(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    for call in names.calls:
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in _SUMS:
            continue
        value: ast.expr = call.func.value
        while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and not value.args:
            value = value.func.value
        if not isinstance(value, ast.Subscript) or not isinstance(value.value, ast.Compare):
            continue
        mask = names.value_before(value.slice) if isinstance(value.slice, ast.Name) else value.slice
        if mask is not None and _is_padding(mask) and isinstance(value.value.ops[0], ast.Eq):
            yield Hit(
                place=analysis.place(call),
                message=f"only padding is counted here: `{unparsed(mask)}`",
                evidence=(Evidence("the mask", analysis.place(mask)),),
                fix="Write `!=`.",
            )


def _is_padding(mask: ast.expr) -> bool:
    if not isinstance(mask, ast.Compare) or len(mask.ops) != 1 or not isinstance(mask.ops[0], ast.Eq):
        return False
    other = mask.comparators[0]
    name = getattr(other, "attr", getattr(other, "id", ""))
    return bool(_PAD.search(name))


def _zeroed(analysis: Analysis, names: Bindings, loop: ast.For, lengths: set[str]) -> Iterator[Hit]:
    """Yield what sets a part of each sample of a batch to 0: that up to its length."""
    for one in walk(loop):
        target = one.targets[0] if isinstance(one, ast.Assign) and is_zero(one.value) else None
        if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Name):
            continue
        parts = target.slice.elts if isinstance(target.slice, ast.Tuple) else []
        last = parts[1] if len(parts) > 1 else None
        upto = last.upper if isinstance(last, ast.Slice) and last.lower is None else None
        if isinstance(upto, ast.Name) and upto.id in lengths and _is_data(names, target.value):
            yield Hit(
                place=analysis.place(one),
                message=f"this sets `{target.value.id}` to 0 up to its length, and leaves what comes after it",
                fix=f"Write `{upto.id}:`.",
            )


def _length_names(loop: ast.For) -> set[str]:
    """Return what a loop over lengths calls each of them."""
    over = {one.id for one in nodes_of(loop.iter, ast.Name)}
    if not any(_LENGTHS.search(one) for one in over - {"len"}):
        return set()
    return {one.id for one in nodes_of(loop.target, ast.Name) if _LENGTHS.search(one.id)}


def _is_data(names: Bindings, node: ast.Name) -> bool:
    """Say whether a name is a parameter, or another name of one, and called for data."""
    value = names.value_before(node)
    origin = value.id if isinstance(value, ast.Name) else node.id if value is None else ""
    return origin in names.parameters and not _NOT_DATA.search(node.id) and not _NOT_DATA.search(origin)
