"""A number is computed from a comparison instead of from what is compared.

What it finds:
    `abs(a - b < tol)`, `(x < 100).abs()`, `torch.norm(a - b > eps)` and `len(pred == target)`: a parenthesis closes too
    late or too early.

Why:
    The absolute value of True is True: `a - b < tol` holds for every large negative difference. The length of a mask is
    the length of what was compared, however few are equal.

How sure:
    The argument is a comparison by order, written in place; of `len`, one of two values that are no texts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def is_done(x, last, tol):
    far = (x[:, 1:] < 100).abs().all(-1)  # <- TW878
    return far, abs(x.mean() - last < tol)  # <- TW878
"""

GOOD = """\
import torch


def is_done(x, last, tol):
    far = (x[:, 1:].abs() < 100).all(-1)
    return far, abs(x.mean() - last) < tol
"""

# What changes a number, and is itself, or nonsense, of a truth value.
_OF_NUMBERS = frozenset(
    "abs absolute fabs sqrt exp log log1p log2 log10 norm square neg reciprocal sigmoid tanh".split()
)
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


@rule(code="TW878", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls whose argument is a comparison."""
    if analysis.source.words.isdisjoint({"torch", "numpy"}):
        return
    for call in analysis.nodes.get(ast.Call, []):
        if not isinstance(call, ast.Call):
            continue
        compared = _compared(call)
        if compared is not None:
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            yield Hit(
                place=analysis.place(call),
                message=f"`{name}` of a comparison: `{unparsed(compared)}` is only true or false",
                fix="Count what holds with `.sum()`."
                if name == "len"
                else "Compare what it gives: move a parenthesis.",
            )


def _compared(call: ast.Call) -> ast.Compare | None:
    """Return the comparison that a function of numbers is called with; None if it is none."""
    func = call.func
    name = getattr(func, "attr", getattr(func, "id", ""))
    if name == "len":
        return _of_length(call)
    if name not in _OF_NUMBERS:
        return None
    is_method = isinstance(func, ast.Attribute) and not is_usual_name(func.value)
    given: ast.expr | None = call.args[0] if call.args else None
    if is_method:
        given = func.value if isinstance(func, ast.Attribute) else None
    elif isinstance(func, ast.Name) and name != "abs":
        return None
    ordered = isinstance(given, ast.Compare) and len(given.ops) == 1 and isinstance(given.ops[0], _ORDER)
    return given if ordered and isinstance(given, ast.Compare) else None


def _of_length(call: ast.Call) -> ast.Compare | None:
    given = call.args[0] if len(call.args) == 1 and isinstance(call.func, ast.Name) else None
    if not isinstance(given, ast.Compare) or len(given.ops) != 1:
        return None
    if isinstance(given.ops[0], ast.In | ast.NotIn | ast.Is | ast.IsNot):
        return None
    return None if any(isinstance(one, ast.Compare) and one is not given for one in walk(given)) else given
