"""`and` or `or` between arrays.

What it finds:
    `and`, `or` and `not` whose operands are arrays or tensors with more than one element; also two lists of answers,
    `[a > 0 for a in x] and [a < 1 for a in x]`, and the indices that `np.where(mask)` or `nonzero` gives.

Why:
    Python asks for the truth of a whole array, which is a ValueError; with one element it silently takes one
    operand. A list or tuple that is not empty is true, so that `and` gives the second and forgets the first.

How sure:
    An operand is a comparison or array that is known to have at least one axis. Reductions such as `.any()` are
    numbers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed, scope_of
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.values import Sequence, Tensor, Value

BAD = """\
import numpy as np

m = np.random.rand(4, 4)
inner = np.argwhere((m > 0) and (m < 1))  # <- TW103
"""

GOOD = """\
import numpy as np

m = np.random.rand(4, 4)
inner = np.argwhere((m > 0) & (m < 1))
whole = (m > 0).all() and (m < 1).all()
"""


@rule(code="TW103", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at boolean operators."""
    asks = not analysis.source.words.isdisjoint(("where", "nonzero"))
    for operation in analysis.operations:
        node = operation.node
        if not isinstance(node, ast.BoolOp):
            continue
        word = "and" if isinstance(node.op, ast.And) else "or"
        sign = "&" if word == "and" else "|"
        if any(_is_array(one) for one in operation.operands):
            yield Hit(
                place=analysis.place(node, operation.context),
                message=f"`{word}` asks for the truth of a whole array",
                fix=f"Use `{sign}` with both sides in parentheses.",
            )
        elif all(map(_is_list_of_answers, operation.operands)):
            yield Hit(
                place=analysis.place(node, operation.context),
                message=f"`{word}` of two lists gives one of them as it is, not what holds in both places",
                fix=f"Go through both: `[a {word} b for a, b in zip(first, second)]`.",
            )
        elif asks and all(_is_indices(analysis, one) for one in node.values):
            yield Hit(
                place=analysis.place(node, operation.context),
                message=f"`{word}` of two tuples of indices gives one of them as it is",
                fix=f"Join the conditions: `np.where((...) {sign} (...))`.",
            )


def _is_list_of_answers(value: Value) -> bool:
    """Say whether a list is made by a comprehension of comparisons."""
    node = value.node if isinstance(value, Sequence) and value.kind == "list" else None
    if not isinstance(node, ast.ListComp):
        return False
    answer = node.elt
    return isinstance(answer, ast.Compare | ast.BoolOp) or (
        isinstance(answer, ast.UnaryOp) and isinstance(answer.op, ast.Not)
    )


def _is_indices(analysis: Analysis, node: ast.expr) -> bool:
    """Say whether an expression is what `np.where` of a condition alone gives, also by a name."""
    made = followed(node, scope_of(node, analysis.parents))
    if not isinstance(made, ast.Call) or len(made.args) != 1 or made.keywords:
        return False
    return full_name(analysis.source, made.func) in ("numpy.where", "numpy.nonzero", "torch.where")


def _is_array(value: Value) -> bool:
    if not isinstance(value, Tensor) or not value.shape:
        return False
    return any(size is None or size > 1 for size in value.shape)
