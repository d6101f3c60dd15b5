"""Where a small number keeps something from being zero, and where it does not although it is expected."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of, subject
from trainworthy.check.static.bindings import is_stub
from trainworthy.check.static.tree import unparsed, variables, walk

_EPSILON = re.compile(r"^_?(eps|epsilon|tiny)_?\d*$", re.IGNORECASE)
_SMALL = 1e-2
_NO_TENSORS = frozenset({"np", "numpy", "math", "jnp", "tf", "logger", "logging", "self", "wandb"})
_FORMS = frozenset({"view", "reshape", "flatten", "squeeze", "unsqueeze", "float", "to", "detach", "double"})
_CLAMPS = frozenset({"clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_", "maximum", "max"})
_COUNTS = frozenset({"one_hot", "bincount", "histc", "scatter_", "scatter_add_", "scatter", "eq", "argmax"})


def is_of_tensors(node: ast.Call) -> bool:
    """Say whether a call is one of a tensor's method, or of torch's function, as far as the names tell."""
    if not isinstance(node.func, ast.Attribute):
        return False
    return getattr(node.func.value, "id", "") not in _NO_TENSORS and len(node.args) <= 1 and not node.keywords


def has_epsilon(node: ast.expr) -> bool:
    """Say whether something is a sum with an epsilon."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and (_is_one(node.right) or _is_one(node.left))


def _is_one(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float) and 0 < node.value < _SMALL
    return bool(_EPSILON.match(str(getattr(node, "attr", getattr(node, "id", "")))))


def without_their_epsilon(analysis: Analysis, calls: Iterable[ast.Call]) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Yield calls of something as it is, with what shows that an epsilon belongs to it.

    That is another call in the function, of something that was computed in the same way, or the function's parameter.
    """
    by_scope: dict[ast.AST, list[ast.Call]] = {}
    for call in calls:
        by_scope.setdefault(scope_of(call, analysis.parents), []).append(call)
    for scope, found in by_scope.items():
        guarded = [(one, of) for one in found if (of := subject(one)) is not None and has_epsilon(of)]
        unread = _unread_epsilon(scope)
        for call in found:
            of = subject(call)
            if of is None or isinstance(of, ast.Constant) or has_epsilon(followed(of, scope)):
                continue
            if _is_cut_off(scope, variables(of)):
                continue
            like = [one for one, other in guarded if isinstance(other, ast.BinOp) and _is_like(of, other.left, scope)]
            if like:
                yield call, like[0]
            elif unread is not None and isinstance(of, ast.Name) and _is_parameter(scope, of.id):
                yield call, unread


def _is_like(one: ast.expr, other: ast.expr, scope: ast.AST) -> bool:
    """Say whether two things are computed by one function, or one is what is left of the other: ``1 - p`` of ``p``."""
    one, other = _without_forms(one), _without_forms(other)
    if isinstance(one, ast.Name) and isinstance(other, ast.Name) and one.id != other.id:
        made = [_without_forms(followed(each, scope, 1)) for each in (one, other)]
        calls = [each for each in made if isinstance(each, ast.Call)]
        return len(calls) == len(made) and unparsed(calls[0].func) == unparsed(calls[1].func)
    return _rest(one) == unparsed(other) or _rest(other) == unparsed(one)


def _rest(node: ast.expr) -> str:
    """Return ``p`` of ``1 - p``."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and isinstance(node.left, ast.Constant):
        return unparsed(node.right) if node.left.value == 1 else ""
    return ""


def _without_forms(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Call) and called(node) in _FORMS:
        inner = subject(node)
        if inner is None:
            break
        node = inner
    return node


def _unread_epsilon(scope: ast.AST) -> ast.arg | None:
    """Return a function's parameter that is called epsilon, if the function never reads it."""
    if not isinstance(scope, ast.FunctionDef) or is_stub(scope) or scope.decorator_list:
        return None
    arguments = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
    read = {name for statement in scope.body for name in variables(statement)}
    return next((one for one in arguments if _EPSILON.match(one.arg) and one.arg not in read), None)


def _is_parameter(scope: ast.AST, name: str) -> bool:
    """Say whether a function gets something handed over, and does not cut it off."""
    arguments = scope.args.args if isinstance(scope, ast.FunctionDef) else []
    return name in {one.arg for one in arguments} and not _is_cut_off(scope, {name})


def _is_cut_off(scope: ast.AST, names: set[str]) -> bool:
    """Say whether a function clamps one of some variables."""
    return any(
        isinstance(one, ast.Call)
        and called(one) in _CLAMPS
        and (of := subject(one)) is not None
        and variables(of) & names
        for one in walk(scope)
    )


def is_share_of_counts(node: ast.expr, scope: ast.AST, *, unknown: bool = False, depth: int = 6) -> bool:
    """Say whether something is a mean, sum or share of what counts: of a one-hot code, of a histogram.

    With ``unknown``, also of what a function gets handed over and averages.
    """
    node = followed(_without_forms(node), scope)
    if isinstance(node, ast.Name):
        return unknown and depth < 6 and _is_parameter(scope, node.id)
    if depth and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return is_share_of_counts(node.left, scope, unknown=unknown, depth=depth - 1)
    if isinstance(node, ast.Compare) or called(node) in _COUNTS:
        return True
    averaged = isinstance(node, ast.Call) and called(node) in ("mean", "sum", "where", *_FORMS)
    inner = subject(node) if averaged and isinstance(node, ast.Call) else None
    if called(node) == "where" and isinstance(node, ast.Call):
        inner = node.args[1] if len(node.args) == 3 else None
    return bool(depth) and inner is not None and is_share_of_counts(inner, scope, unknown=unknown, depth=depth - 1)
