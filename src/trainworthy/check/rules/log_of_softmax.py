"""The logarithm of a softmax or sigmoid, in two steps.

What it finds:
    `torch.log(softmax(x))`, `softmax(x).log()` and the same of a sigmoid, also of one that is written out,
    `1 / (1 + torch.exp(-x))`, under a name or in a function of the file.

Why:
    Small probabilities round to 0 and their logarithm is -inf; `log_softmax` subtracts before it exponentiates, and
    `logsigmoid` never forms the probability.

How sure:
    A hint: nothing happens as long as no probability underflows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, integer, scope_of, subject
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import nodes_of
from trainworthy.check.static.values import Tensor

BAD = """\
import torch

x = torch.rand(4, 10)
y = torch.log(torch.softmax(x, dim=1))  # <- TW213
"""

GOOD = """\
import torch

x = torch.rand(4, 10)
y = torch.log_softmax(x, dim=1)
safe = torch.log(torch.softmax(x, dim=1) + 1e-9)
"""

_BOUNDED = frozenset("arange linspace clamp clamp_ clip hardtanh tanh cosine_similarity".split())


@rule(code="TW213", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at logarithms."""
    said: set[ast.AST] = set()
    for call in analysis.calls("torch.log", "torch.Tensor.log"):  # of several ways one may be known
        value = call.argument(0, "input") if call.name == "torch.log" else call.owner
        if call.node in said or not isinstance(value, Tensor) or value.activation not in ("softmax", "sigmoid"):
            continue
        if not _is_bounded(value):
            said.add(call.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the logarithm of a {value.activation} is -inf where a probability underflows",
                fix="Use `log_softmax`." if value.activation == "softmax" else "Use `logsigmoid`.",
            )
    if "exp" in analysis.source.words and not is_a_test(analysis.source):
        yield from _of_written_out(analysis, said)


def _is_bounded(value: Tensor) -> bool:
    """Say whether a sigmoid is taken of what cannot be large: a table, or what was cut off."""
    of = None if value.made_by is None else subject(value.made_by.node)
    return value.activation == "sigmoid" and of is not None and called(of) in _BOUNDED


def _of_written_out(analysis: Analysis, said: set[ast.AST]) -> Iterator[Hit]:
    """Look at logarithms of a sigmoid that is written out."""
    for call in analysis.method_calls("log"):
        if call.node in said or call.context.source is not analysis.source or not _may_be_of_tensors(call):
            continue
        if _is_sigmoid(analysis, subject(call.node)):
            said.add(call.node)
            yield Hit(
                place=analysis.place(call.node),
                message="the logarithm of 1 / (1 + exp(-x)) is -inf where the exponential overflows",
                fix="Use `logsigmoid(x)`, and `logsigmoid(-x)` for the logarithm of 1 less it.",
            )


def _may_be_of_tensors(call: Call) -> bool:
    return call.name in ("torch.log", "torch.Tensor.log", "?.log")


def _is_sigmoid(analysis: Analysis, node: ast.expr | None, depth: int = 2) -> bool:
    """Say whether an expression is `1 / (1 + exp(-x))`, its reciprocal being taken too, or calls what returns that."""
    node = node and followed(node, scope_of(node, analysis.parents))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _is_one(node.left) and _is_one_and_exp(analysis, node.right)
    if not isinstance(node, ast.Call):
        return False
    if called(node) == "reciprocal":
        of = subject(node)
        return of is not None and _is_one_and_exp(analysis, of)
    return bool(depth) and isinstance(node.func, ast.Name) and _returns_sigmoid(analysis, node.func.id, depth - 1)


def _returns_sigmoid(analysis: Analysis, name: str, depth: int) -> bool:
    made = [one for one in functions_of(analysis.nodes) if one.name == name]
    returned = [one.value for one in nodes_of(made[0], ast.Return)] if len(made) == 1 else []
    return len(returned) == 1 and _is_sigmoid(analysis, returned[0], depth)


def _is_one_and_exp(analysis: Analysis, node: ast.expr) -> bool:
    """Say whether an expression is the sum of 1 and the exponential of a tensor that may be large."""
    scope = scope_of(node, analysis.parents)
    node = followed(node, scope)
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
        return False
    one, other = (node.left, node.right) if _is_one(node.left) else (node.right, node.left)
    other = followed(other, scope)
    if not _is_one(one) or not isinstance(other, ast.Call) or called(other) != "exp":
        return False
    of = subject(other)
    library = library_of(analysis.source, other.func.value) if isinstance(other.func, ast.Attribute) else ""
    if of is None or isinstance(other.func, ast.Name) or library not in ("", "torch"):
        return False
    of = followed(of.operand if isinstance(of, ast.UnaryOp) else of, scope)
    return not isinstance(of, ast.Constant) and called(of) not in _BOUNDED


def _is_one(node: ast.expr) -> bool:
    return integer(node) == 1 or (isinstance(node, ast.Constant) and node.value == 1.0)
