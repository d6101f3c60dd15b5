"""A softmax written by hand overflows.

What it finds:
    `exp(z) / exp(z).sum(...)`, also through names for either, with the sum expanded or kept from 0, and
    `log(exp(z).sum(...))`, where nothing was subtracted from `z`.

Why:
    `exp` of 89 is infinite in float32, of 12 in float16, and inf / inf is NaN; the log of inf is inf. `softmax` and
    `logsumexp` subtract the maximum first.

How sure:
    A hint: scores that stay small are right. Silent where a maximum is subtracted or scores are clamped.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.tree import own

BAD = """\
import torch


def softmax(z):
    e = torch.exp(z)
    return e / e.sum(dim=-1, keepdim=True)  # <- TW263
"""

GOOD = """\
import torch


def softmax(z):
    e = torch.exp(z - z.max(dim=-1, keepdim=True).values)
    return e / e.sum(dim=-1, keepdim=True)
"""


@rule(code="TW263", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at quotients."""
    if "exp" not in analysis.source.words:
        return
    for scope in (analysis.source.tree, *functions_of(analysis.nodes)):
        nodes = own(scope)
        names = _names_of(nodes)
        yield from _quotients(analysis, nodes, names)
        yield from _logs_of_sums(analysis, nodes, names)


def _quotients(analysis: Analysis, nodes: Sequence[ast.AST], names: dict[str, ast.expr | None]) -> Iterator[Hit]:
    """Look at exponentials that are divided by their sum."""
    for node in nodes:
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        right = names.get(node.right.id) if isinstance(node.right, ast.Name) else node.right
        top, below = node.left, _summed(right) if right is not None else None
        if below is None or ast.dump(top) != ast.dump(below):
            continue
        made = names.get(top.id) if isinstance(top, ast.Name) else top
        if made is not None and _is_bare_exp(made):
            yield Hit(
                place=analysis.place(node),
                message="exp(z) / sum(exp(z)) is NaN as soon as one exp(z) is infinite",
                fix="torch.softmax(z, dim=...); for a loss, log_softmax or cross_entropy.",
            )


def _logs_of_sums(analysis: Analysis, nodes: Sequence[ast.AST], names: dict[str, ast.expr | None]) -> Iterator[Hit]:
    """Look at logarithms of sums of exponentials."""
    for call in nodes:
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "log":
            continue
        summed = _summed(call.args[0] if call.args else call.func.value)
        made = names.get(summed.id) if isinstance(summed, ast.Name) else summed
        if made is not None and _is_bare_exp(made):
            yield Hit(
                place=analysis.place(call),
                message="log(sum(exp(z))) is infinite as soon as one exp(z) is",
                fix="torch.logsumexp(z, dim=...).",
            )


def _names_of(nodes: Sequence[ast.AST]) -> dict[str, ast.expr | None]:
    """Return what names of a function are assigned that are assigned once; None for the others."""
    found: dict[str, ast.expr | None] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = None if target.id in found else node.value
    return found


def _summed(node: ast.expr) -> ast.expr | None:
    """Return what a sum adds up, also one that is brought into shape or kept from 0 afterwards."""
    while True:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and not isinstance(node.left, ast.Constant):
            node = node.left
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _SHAPES:
            node = node.func.value  # type: ignore[attr-defined]
        else:
            break
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "sum":
        return None
    if isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "th", "np", "numpy"):
        return node.args[0] if node.args else None
    return node.func.value


_SHAPES = frozenset({"expand_as", "expand", "unsqueeze", "view", "reshape", "clamp", "clamp_min", "to", "float"})


def _is_bare_exp(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "exp":
        return False
    of = node.args[0] if node.args else node.func.value
    if isinstance(of, ast.UnaryOp | ast.Call | ast.BinOp):
        # exp(-x), exp(f(x)) and exp(a - b) may be bounded; only what is read as it stands is surely not.
        inner = of.operand if isinstance(of, ast.UnaryOp) else of
        return isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.MatMult)
    return isinstance(of, ast.Name | ast.Attribute)
