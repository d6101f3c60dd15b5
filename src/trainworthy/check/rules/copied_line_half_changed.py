"""A line is a copy of one above it, changed everywhere but in one place.

What it finds:
    `loss_a = criterion(out_a, target_a)` and below it `loss_b = criterion(out_b, target_a)`, when there is a
    `target_b`; `meter_b.update(loss_a)` below `meter_a.update(loss_a)`, when there is a `loss_b`. Also terms of a sum,
    entries of a dict and arguments by name: `weight_a * loss_a + weight_b * loss_a`.

Why:
    One loss, one norm or one curve is computed from the other's values, and nothing fails.

How sure:
    Both lines are built alike and stand in one block; one word changes to another one in all names but one; the name
    with the other word exists and was given a value above. Silent about the ends of an interval, places in a grid,
    devices and shapes, numbered things that are made alike, numbered members of an ensemble (they get equal arguments
    elsewhere in the function), and in tests, which compare one thing with another all the time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_of
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import children, nodes_of, own, unparsed

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
    # of an interval or a box; parts of a product that are crossed
    "real imag img re im sin cos start end begin min max lo hi low high first last lower upper top bottom left "
    "right".split()
)
_SIZES = frozenset("dim dims size channel channels feature features units width in out".split())  # layers share them
_ITEMS = frozenset({"k", "v", "key", "value", "i", "j", "x", "y"})  # what loops go through
_ABOUT = frozenset({"device", "dtype", "shape", "ndim", "size", "dim", "numel", "len", "getattr"})
_Part = ast.stmt | ast.expr
_NEAR = 6  # statements between a line and its copy


@rule(code="TW867", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Compare the statements of each block with those right above."""
    if "torch" not in analysis.source.words or is_a_test(analysis.source):
        return
    attributes = {
        one.attr
        for one in analysis.nodes.get(ast.Attribute, ())
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and getattr(one.value, "id", "") == "self"
    }
    for function in functions_of(analysis.nodes):
        for group in _groups(function):
            for above, below, pairs in _alike(group):
                found = _half_changed(bindings_of(function), attributes, below, pairs)
                if found is not None and not _is_of_an_ensemble(function, below, pairs):
                    kept, wanted = unparsed(found[0]), found[1]
                    yield Hit(
                        place=analysis.place(found[0]),
                        message=f"all but `{kept}` was changed from what stands above: there is a `{wanted}`",
                        evidence=(Evidence("what it is a copy of", analysis.place(above)),),
                    )


def _alike(group: Sequence[_Part]) -> Iterator[tuple[_Part, _Part, list[tuple[str, str, ast.AST]]]]:
    """Yield each part of a group with the nearest above that is built alike, and the names of both side by side."""
    above: dict[tuple[object, ...], list[tuple[int, _Part]]] = {}
    forms: dict[_Part, tuple[str, list[ast.AST]]] = {}
    for at, one in enumerate(group):
        if not isinstance(one, ast.Assign | ast.AugAssign | ast.Expr | ast.Call | ast.BinOp | ast.Tuple):
            continue
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Name):
            continue  # one thing for both
        near = above.setdefault(_kind(one), [])
        for where, other in near[::-1]:
            if at - where > _NEAR:
                break
            for each in (other, one):
                if each not in forms:
                    parts: list[ast.AST] = []
                    forms[each] = (_form(each, parts), parts)
            form, its = forms[one]
            if len(its) > 1 and forms[other][0] == form:
                pairs = zip(forms[other][1], its, strict=True)
                yield other, one, [(_text(a), _text(b), b) for a, b in pairs]
                break
        near.append((at, one))


def _kind(statement: _Part) -> tuple[object, ...]:
    """Say roughly how a part is built."""
    value = statement.value if isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr) else statement
    if not isinstance(value, ast.Call):
        return type(statement), type(value)
    return type(statement), type(value.func), getattr(value.func, "attr", ""), len(value.args), len(value.keywords)


def _groups(function: Def) -> Iterator[Sequence[_Part]]:
    """Yield what stands side by side in a function: statements, terms of a sum, entries, arguments by name."""
    yield function.body
    for one in own(function):
        if type(one) in _PLAIN:
            continue
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Add):
            yield _terms(one)
        elif isinstance(one, ast.Tuple | ast.List) and len(one.elts) > 1:
            yield one.elts
        elif isinstance(one, ast.Dict) and len(one.keys) > 1:
            yield [_pair(key, value) for key, value in zip(one.keys, one.values, strict=True) if key is not None]
        elif isinstance(one, ast.Call) and len(one.keywords) > 1:
            yield [_pair(ast.Constant(each.arg), each.value) for each in one.keywords if each.arg]
        for part in ("body", "orelse"):
            body = getattr(one, part, None)
            if isinstance(body, list) and len(body) > 1:
                yield body


# What has no parts side by side, and is most of a function.
_PLAIN = (ast.Name, ast.Constant, ast.Attribute, ast.keyword, ast.Assign, ast.Expr, ast.Subscript, ast.Return)


def _terms(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_terms(node.left), node.right]
    return [node]


def _pair(key: ast.expr, value: ast.expr) -> ast.expr:
    """Put a name and what is given under it together; what has no other names in it needs no look."""
    if not isinstance(value, ast.Call | ast.BinOp):
        return value
    return ast.copy_location(ast.Tuple([key, value], ast.Load()), value)


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
    own += [str(one is None) for one in (node.lower, node.upper)] if isinstance(node, ast.Slice) else []
    return f"{type(node).__name__}{own}({','.join(_form(one, parts) for one in children(node))})"


def _text(node: ast.AST) -> str:
    return str(getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "value", ""))


def _half_changed(
    names: Bindings, attributes: set[str], statement: _Part, pairs: list[tuple[str, str, ast.AST]]
) -> tuple[ast.expr, str] | None:
    """Return the one name that was not changed, and what it would be."""
    changes = {_change(one, two) for one, two, _ in pairs if one != two}
    if len(changes) != 1:
        return None
    change = changes.pop()
    if change is None or _ENDS & set(change):  # an end is often measured from the start
        return None
    old, new = change
    others = [(one, two, part) for one, two, part in pairs if one != two]
    if new.isdigit() and len({(one, two) for one, two, _ in others}) == 1:
        return None  # computed twice, or a row of layers
    if len(new) < 2 and all(isinstance(getattr(part, "ctx", None), ast.Store) for _, _, part in others):
        return None
    left = [(two, node) for one, two, node in pairs if one == two and old in _WORD.findall(two)]
    node = left[0][1] if len(left) == 1 else None
    if not isinstance(node, ast.Name | ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return None
    if any(_WORD.findall(part).count(old) > 1 for one, two, _ in pairs for part in (one, two)):
        return None  # a place in a grid: `index_0_1`
    text = left[0][0]
    if _SIZES & {*_WORD.findall(text)} or text in _ITEMS:
        return None
    if new in _WORD.findall(text) or any(new in _WORD.findall(one) for one, _, _ in pairs):
        return None
    wanted = "".join(new if part == old else part for part in re.findall(rf"{_WORD.pattern}|[^a-zA-Z0-9]+", text))
    if isinstance(node, ast.Attribute):
        there = getattr(node.value, "id", "") == "self" and wanted in attributes
    else:
        stored = [one.lineno for one in names.stores.get(wanted, ())]
        there = wanted in names.parameters or any(line < statement.lineno for line in stored)
    elsewhere = any(  # not `f(a, a)` and `f(a, b)`
        (one, two) != (text, wanted) or not isinstance(getattr(part, "ctx", None), ast.Load)
        for one, two, part in others
    )
    return (node, wanted) if there and elsewhere else None


def _is_of_an_ensemble(function: Def, statement: _Part, pairs: list[tuple[str, str, ast.AST]]) -> bool:
    """Say whether numbered things are made alike or called alike, as two layers, or two critics of one state, are.

    The latter only if the function gives two such members equal arguments elsewhere.
    """
    changed = [(one, two, node) for one, two, node in pairs if one != two]
    change = _change(*changed[0][:2]) if changed else None
    if change is None or not all(word.isdigit() for word in change) or not isinstance(statement, ast.Assign):
        return False
    called = {one.func for one in nodes_of(statement.value, ast.Call)}
    read = [node for _, _, node in changed if not isinstance(getattr(node, "ctx", None), ast.Store)]
    if any(node not in called for node in read):
        return False
    return not read or _are_called_alike(function, change, called)


def _are_called_alike(function: Def, change: tuple[str, str], here: set[ast.expr]) -> bool:
    """Say whether a function gives equal arguments to two things that differ in that word alone, elsewhere."""
    known: dict[str, list[str]] = {}
    for one in own(function):
        if isinstance(one, ast.Call) and one.args and one.func not in here:
            given = ", ".join(unparsed(each) for each in (*one.args, *one.keywords))
            known.setdefault(given, []).append(_text(one.func))
    return any(_change(a, b) in (change, change[::-1]) for group in known.values() for a in group for b in group)


def _change(one: str, two: str) -> tuple[str, str] | None:
    """Return the only word in which two names differ."""
    first, second = _WORD.findall(one), _WORD.findall(two)
    differing = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
    return differing[0] if len(first) == len(second) and len(differing) == 1 else None
