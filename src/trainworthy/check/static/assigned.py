"""What a name was last given before a place, by the tree alone."""

from __future__ import annotations

import ast
from collections import defaultdict

from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import own

_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_Given = dict[str, list[tuple[int, ast.expr | None]]]


def scope_of(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST:
    """Return the function, or the module, whose names a node sees."""
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            break
    return node


def _given(scope: ast.AST) -> _Given:
    """Return what each name of a function or file is given, with the line; kept with the node."""
    kept = scope.__dict__
    if "_given" not in kept:
        kept["_given"] = _all_given(scope) if isinstance(scope, _Scope) else {}
    found: _Given = kept["_given"]
    return found


def _all_given(scope: _Scope) -> _Given:
    found: _Given = defaultdict(list)
    plain: set[ast.AST] = set()
    for node in own(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            plain.add(node.targets[0])
            found[node.targets[0].id].append((node.end_lineno or node.lineno, node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            plain.add(node.target)
            found[node.target.id].append((node.end_lineno or node.lineno, node.value))
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            plain.add(node.target)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in plain:
            found[node.id].append((node.lineno, None))
    return found


def last_given(scope: ast.AST, name: str, line: int) -> ast.expr | None:
    """Return the expression that a name was last bound to above a line; None if it is another kind of binding."""
    before = [one for one in _given(scope).get(name, ()) if one[0] < line]
    return max(before, key=lambda one: one[0])[1] if before else None


def times_given(scope: ast.AST, name: str) -> int:
    """Return how often a name is bound in a function or file, but for sums that are added to it."""
    return len(_given(scope).get(name, ()))


def followed(node: ast.expr, scope: ast.AST, depth: int = 4) -> ast.expr:
    """Look through names to the expression that made them."""
    while isinstance(node, ast.Name) and depth:
        found = last_given(scope, node.id, node.lineno)
        if found is None:
            break
        node, depth = found, depth - 1
    return node


def called(node: ast.AST) -> str:
    """Return the last part of what a call calls; "" if it is none."""
    func = node.func if isinstance(node, ast.Call) else None
    return str(getattr(func, "attr", None) or getattr(func, "id", None) or "")


def subject(node: ast.Call) -> ast.expr | None:
    """Return ``x`` of ``x.f()`` and of ``torch.f(x)``: what a method is called on, or a function is given first."""
    func = node.func
    if isinstance(func, ast.Attribute) and not is_usual_name(func.value):
        return func.value
    return node.args[0] if node.args else None


def arguments_after_subject(node: ast.Call) -> list[ast.expr]:
    """Return the positional arguments other than the subject."""
    func = node.func
    return node.args if isinstance(func, ast.Attribute) and not is_usual_name(func.value) else node.args[1:]


def keyword(node: ast.Call, *names: str) -> ast.expr | None:
    """Return an argument given by one of some names."""
    return next((one.value for one in node.keywords if one.arg in names), None)


def integer(node: ast.AST | None) -> int | None:
    """Return the whole number that an expression is, with its sign; None if it is none."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = integer(node.operand)
        return -inner if inner is not None else None
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_shape_of(node: ast.expr, name: str) -> bool:
    """Say whether an expression is all sizes of a variable: ``x.shape`` or ``x.size()``."""
    if isinstance(node, ast.Call):
        return called(node) == "size" and not node.args and getattr(subject(node), "id", "") == name
    return isinstance(node, ast.Attribute) and node.attr == "shape" and getattr(node.value, "id", "") == name
