"""A line is a copy of one above it, changed everywhere but in one place.

What it finds:
    `loss_a = criterion(out_a, target_a)` and below it `loss_b = criterion(out_b, target_a)`, when there is a
    `target_b`; `meter_b.update(loss_a)` below `meter_a.update(loss_a)`, when there is a `loss_b`.

Why:
    One loss, one norm or one curve is computed from the other's values, and nothing fails.

How sure:
    Both lines are built alike and stand in one block; one word changes to another one in all names but one; the name
    with the other word exists and was given a value above. Silent about the ends of an interval, places in a grid,
    devices and shapes, and in tests, which compare one thing with another all the time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_of, own_nodes
from trainworthy.check.static.tree import children

BAD = """\
import torch


def losses(criterion, model_a, model_b, x, target_a, target_b):
    out_a = model_a(x)
    out_b = model_b(x)
    loss_a = criterion(out_a, target_a)
    loss_b = criterion(out_b, target_a)  # <- TW867
    return loss_a + loss_b, target_b
"""

GOOD = """\
import torch


def losses(criterion, model_a, model_b, x, target_a, target_b):
    out_a = model_a(x)
    out_b = model_b(x)
    loss_a = criterion(out_a, target_a)
    loss_b = criterion(out_b, target_b)
    return loss_a + loss_b
"""

_WORD = re.compile(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*|\d+")
_ENDS = frozenset(
    # of an interval or a box
    "start end begin min max lo hi low high first last lower upper top bottom left right".split()
)
_SIZES = frozenset("dim dims size channel channels feature features units width in out".split())  # layers share them
_ABOUT = frozenset({"device", "dtype", "shape", "ndim", "size", "dim", "numel", "len", "getattr"})
_TEST = re.compile(r"(^|/)(tests?|testing)/|(^|/)(test_|conftest)[^/]*$|_test\.py$")
_NEAR = 6  # statements between a line and its copy


@rule(code="TW867", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Compare the statements of each block with those right above."""
    if "torch" not in analysis.source.words or _TEST.search(analysis.source.path.replace("\\", "/")):
        return
    attributes = {
        one.attr
        for one in analysis.nodes.get(ast.Attribute, ())
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and getattr(one.value, "id", "") == "self"
    }
    for function in functions_of(analysis.nodes):
        for body in _bodies(function):
            for above, below, pairs in _alike(body):
                found = _half_changed(bindings_of(function), attributes, below, pairs)
                if found is not None:
                    kept, wanted = found
                    yield Hit(
                        place=analysis.place(kept),
                        message=f"all but `{ast.unparse(kept)}` was changed from the line above: there is a `{wanted}`",
                        evidence=(Evidence("the line that it is a copy of", analysis.place(above)),),
                    )


def _alike(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt, list[tuple[str, str, ast.AST]]]]:
    """Yield each statement with the nearest above that is built alike, and the names of both side by side."""
    above: list[tuple[tuple[object, ...], ast.stmt]] = []
    for statement in body:
        if not isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr):
            continue
        kind = _kind(statement)
        near = [one for other, one in above[: -_NEAR - 1 : -1] if other == kind]
        parts: list[ast.AST] = []
        form = _form(statement, parts) if near else ""
        for one in near if len(parts) > 1 else ():
            its: list[ast.AST] = []
            if _form(one, its) == form:
                yield one, statement, [(_text(a), _text(b), b) for a, b in zip(its, parts, strict=True)]
                break
        above.append((kind, statement))


def _kind(statement: ast.Assign | ast.AugAssign | ast.Expr) -> tuple[object, ...]:
    """Say roughly how a statement is built."""
    value = statement.value
    if not isinstance(value, ast.Call):
        return type(statement), type(value)
    return type(statement), type(value.func), getattr(value.func, "attr", ""), len(value.args), len(value.keywords)


def _bodies(function: Def) -> Iterator[list[ast.stmt]]:
    yield function.body
    for one in own_nodes(function):
        for part in ("body", "orelse"):
            body = getattr(one, part, None)
            if isinstance(body, list) and len(body) > 1:
                yield body


def _form(node: ast.AST, parts: list[ast.AST]) -> str:
    """Write how a statement is built, without its names, and collect these, but for those of devices and shapes."""
    if isinstance(node, ast.Attribute) and node.attr in _ABOUT:
        return node.attr
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in _ABOUT:
        return "size"
    if isinstance(node, ast.Name | ast.Attribute) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        parts.append(node)
        inner = _form(node.value, parts) if isinstance(node, ast.Attribute) else ""
        return f"{type(node).__name__}({inner})"
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and getattr(node.func.value, "id", "") != "self"
    ):
        rest = ",".join(_form(one, parts) for one in (*node.args, *node.keywords))
        return f"Call({_form(node.func.value, parts)}.{node.func.attr} {rest})"
    own = [getattr(node, "arg", ""), type(getattr(node, "op", None)).__name__]
    own += [type(one).__name__ for one in getattr(node, "ops", ())]
    return f"{type(node).__name__}{own}({','.join(_form(one, parts) for one in children(node))})"


def _text(node: ast.AST) -> str:
    return str(getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "value", ""))


def _half_changed(
    names: Bindings, attributes: set[str], statement: ast.stmt, pairs: list[tuple[str, str, ast.AST]]
) -> tuple[ast.expr, str] | None:
    """Return the one name that was not changed, and what it would be."""
    changes = {_change(one, two) for one, two, _ in pairs if one != two}
    if len(changes) != 1:
        return None
    change = changes.pop()
    if change is None or _ENDS & set(change):  # an end is often measured from the start
        return None
    old, new = change
    left = [(two, node) for one, two, node in pairs if one == two and old in _WORD.findall(two)]
    node = left[0][1] if len(left) == 1 else None
    if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return None
    if any(_WORD.findall(part).count(old) > 1 for one, two, _ in pairs for part in (one, two)):
        return None  # a place in a grid: `index_0_1`
    text = left[0][0]
    if _SIZES & {*_WORD.findall(text)}:
        return None
    if new in _WORD.findall(text) or any(new in _WORD.findall(one) for one, _, _ in pairs):
        return None
    wanted = "".join(new if part == old else part for part in re.findall(rf"{_WORD.pattern}|[^a-zA-Z0-9]+", text))
    if isinstance(node, ast.Attribute):
        there = getattr(node.value, "id", "") == "self" and wanted in attributes
    else:
        stored = [one.lineno for one in names.stores.get(wanted, ())]
        there = wanted in names.parameters or any(line < statement.lineno for line in stored)
    loads = {text for _, text, part in pairs if isinstance(getattr(part, "ctx", None), ast.Load)}
    return (node, wanted) if there and wanted not in loads else None


def _change(one: str, two: str) -> tuple[str, str] | None:
    """Return the only word in which two names differ."""
    first, second = _WORD.findall(one), _WORD.findall(two)
    differing = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
    return differing[0] if len(first) == len(second) and len(differing) == 1 else None
