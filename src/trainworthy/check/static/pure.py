"""Functions that change nothing: a call whose result is thrown away is for nothing."""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import nodes_of, unparsed, walk

# What draws random numbers, writes, waits or sets something.
_CHANGES_STATE = re.compile(
    r"rand|multinomial|bernoulli|normal_?$|dropout|seed|shuffle|permutation|choice|generator|load|save|distributed|dist\.|"
    r"cuda|set_|backward|autograd|compile|jit|synchronize|manual|init|print|\.ops\.|library|profiler|append|update"
)
_BUILTINS = frozenset("len range sum max min abs float int tuple list zip isinstance round sorted enumerate".split())
_METHODS = frozenset(
    "mean sum std var abs exp log sqrt pow view reshape transpose permute unsqueeze squeeze size dim float long half "
    "clamp max min norm softmax sigmoid tanh expand repeat flatten contiguous masked_fill gather index_select chunk "
    "split t type_as expand_as detach clone matmul bmm mul div add sub argmax argmin cumsum astype clip lower upper "
    "replace strip join format".split()
)
_ALLOWED = ast.Assign | ast.Return | ast.If | ast.Expr | ast.AnnAssign


@lru_cache(maxsize=4096)
def is_pure(node: ast.FunctionDef) -> bool:
    """Say whether a function surely changes nothing and returns something new.

    >>> programs = ("return (x - x.mean()) / 2", "x[0] = 1; return x")
    >>> [is_pure(ast.parse(f"def f(x): {body}").body[0]) for body in programs]
    [True, False]
    """
    returns = nodes_of(node, ast.Return)
    if node.decorator_list or not returns or not all(_is_something_new(node, one.value) for one in returns):
        return False
    return not any(
        (isinstance(one, ast.stmt) and one is not node and not _is_harmless(one))
        or (isinstance(one, ast.Call) and not _changes_nothing(one))
        or isinstance(one, ast.Yield | ast.YieldFrom | ast.Await | ast.NamedExpr | ast.Lambda)
        for one in walk(node)
    )


def _is_harmless(statement: ast.stmt) -> bool:
    """Say whether a statement only binds names, chooses or returns."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign):
        targets = [one for target in statement.targets for one in walk(target)]
        return not any(isinstance(one, ast.Attribute | ast.Subscript) for one in targets)
    return isinstance(statement, _ALLOWED)


def _changes_nothing(call: ast.Call) -> bool:
    if any(one.arg in ("out", "inplace") for one in call.keywords):
        return False
    text = unparsed(call.func)
    if text in _BUILTINS:
        return True
    if _CHANGES_STATE.search(text):
        return False
    of_library = isinstance(call.func, ast.Attribute) and is_usual_name(call.func) and not text.endswith("_")
    return of_library or getattr(call.func, "attr", "") in _METHODS


def _is_something_new(node: ast.FunctionDef, value: ast.expr | None) -> bool:
    """Say whether what is returned is computed: an expression, or a name that a plain statement binds to one."""
    if isinstance(value, ast.Name):
        bound = [
            one.value
            for one in nodes_of(node, ast.Assign)
            if any(isinstance(target, ast.Name) and target.id == value.id for target in one.targets)
        ]
        return bool(bound) and all(isinstance(one, ast.Call | ast.BinOp) for one in bound)
    return isinstance(value, ast.Call | ast.BinOp | ast.Tuple)
