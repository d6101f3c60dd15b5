"""A loop works on another thing than its own element.

What it finds:
    A loop over `noise` that ends its turn with `one = one * scale`, when `noise` is read afterwards as if it had
    changed; one over `[self.first, self.second]` that never reads its element and calls `self.first` in each turn; a
    comprehension that never reads its element and works on the whole collection in each turn; a loop over
    validation batches that reads `labels` of the training loop beside its own `labels_val`.

Why:
    Nothing changes, everything is repeated, or the validation's loss is computed with the last training batch.

How sure:
    The element is called by a name that does not begin with an underscore. A module that is moved in place
    (`one = one.cuda()`) is left out, and so are what a function may change in place, a loop that counts or changes its
    collection, a draw from it, and values of both loops that stand side by side.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_around
from trainworthy.check.static.tree import children, nodes_of, unparsed, walk

BAD = """\
import torch


def renormalise(prediction, norms, limits):
    for one, norm, limit in zip(prediction, norms, limits):
        if norm > limit:
            one = one * (limit / norm)  # <- TW849
    return prediction


def repeated(values, lengths):
    return torch.cat([torch.repeat_interleave(values, length) for value, length in zip(values, lengths)])  # <- TW849
"""

GOOD = """\
import torch


def renormalise(prediction, norms, limits):
    for at, (norm, limit) in enumerate(zip(norms, limits)):
        if norm > limit:
            prediction[at] = prediction[at] * (limit / norm)
    return prediction


def repeated(values, lengths):
    return torch.cat([torch.repeat_interleave(value, length) for value, length in zip(values, lengths)])
"""

_EVALUATION = re.compile(
    r"^(?:val|valid|validation|test|eval|dev)_(\w+)$|^(\w+)_(?:val|valid|validation|test|eval|dev)$"
)
_IN_PLACE = frozenset({"to", "cuda", "cpu", "half", "float", "train", "eval", "strip", "lower", "replace", "apply"})
_Loop = ast.For | ast.AsyncFor
_Pairs = list[tuple[str, str]]


@rule(code="TW849", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops and comprehensions."""
    if "torch" not in analysis.source.words:
        return
    loops = [one for kind in (ast.For, ast.AsyncFor) for one in analysis.nodes.get(kind, []) if isinstance(one, _Loop)]
    rebinding = [one for one in loops if _rebinds(one)]
    for node in functions_around(analysis.nodes, [one.lineno for one in rebinding]):
        inside = [one for one in rebinding if node.lineno < one.lineno <= (node.end_lineno or 0)]
        yield from _changed_for_nothing(analysis, bindings_of(node), inside)
    for kind in (ast.ListComp, ast.GeneratorExp, ast.SetComp):
        for one in analysis.nodes.get(kind, []):
            if isinstance(one, ast.ListComp | ast.GeneratorExp | ast.SetComp):
                yield from _whole_in_each_turn(analysis, one)
    yield from _batches_of_the_other_loop(analysis)
    yield from _first_in_each_turn(analysis, loops)


def _first_in_each_turn(analysis: Analysis, loops: list[_Loop]) -> Iterator[Hit]:
    """Yield uses of one of the objects that a loop runs over, when the loop never reads its element."""
    for loop in loops:
        if not isinstance(loop.target, ast.Name) or not isinstance(loop.iter, ast.List | ast.Tuple):
            continue
        objects = {unparsed(one) for one in loop.iter.elts if isinstance(one, ast.Name | ast.Attribute)}
        inside = [one for statement in loop.body for one in walk(statement)]
        element = loop.target.id
        if len(objects) < 2 or element.startswith("_"):
            continue
        tested = [one for one in inside if isinstance(one, ast.Compare | ast.If)]
        in_tests = {inner for one in tested for inner in walk(one.test if isinstance(one, ast.If) else one)}
        read = [one for one in inside if isinstance(one, ast.Name) and one.id == element and one not in in_tests]
        uses = [one for one in inside if isinstance(one, ast.Name | ast.Attribute) and unparsed(one) in objects]
        if not read and len({unparsed(one) for one in uses}) == 1:
            yield Hit(
                place=analysis.source.place(uses[0]),
                message=f"each turn works on `{unparsed(uses[0])}`, and `{element}` is never used",
                evidence=(Evidence("the loop", analysis.source.place(loop.target)),),
                fix=f"Use `{element}`.",
            )


def _pairs(target: ast.expr, iterable: ast.expr) -> _Pairs:
    """Return the names that a loop binds to elements of variables, with those variables."""
    if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) and isinstance(target, ast.Tuple):
        if iterable.func.id == "zip" and len(iterable.args) == len(target.elts):
            zipped = zip(target.elts, iterable.args, strict=True)
            return [(one.id, of.id) for one, of in zipped if isinstance(one, ast.Name) and isinstance(of, ast.Name)]
        if iterable.func.id == "enumerate" and len(target.elts) == 2 and iterable.args:
            return _pairs(target.elts[1], iterable.args[0])
    if isinstance(target, ast.Name) and isinstance(iterable, ast.Name):
        return [(target.id, iterable.id)]
    return []


def _rebinds(loop: _Loop) -> bool:
    """Say whether a loop's turn ends with an assignment, perhaps under a condition."""
    last = loop.body[-1]
    while isinstance(last, ast.If) and not last.orelse:
        last = last.body[-1]
    return isinstance(last, ast.Assign) and bool(_pairs(loop.target, loop.iter))


def _changed_for_nothing(analysis: Analysis, names: Bindings, loops: list[_Loop]) -> Iterator[Hit]:
    """Yield the last statement of a turn that binds the element anew, when the collection is read after the loop."""
    for loop in loops:
        for element, collection in _pairs(loop.target, loop.iter):
            last = loop.body[-1]
            while isinstance(last, ast.If) and not last.orelse:
                last = last.body[-1]
            if not isinstance(last, ast.Assign) or [getattr(one, "id", "") for one in last.targets] != [element]:
                continue
            own = [one for one in nodes_of(last.value, ast.Name) if one.id == element]
            if not own or not _makes_a_new_one(analysis, last.value, element):
                continue
            end = loop.end_lineno or loop.lineno
            later = [one for one in names.reads[collection] if one.lineno > end]
            seen = [one for one in names.reads[element] if one.lineno > end]
            stored = any(loop.lineno < one.lineno <= end for one in names.stores[collection])
            if later and not seen and not stored:
                yield Hit(
                    place=analysis.source.place(last),
                    message=f"`{element}` is bound anew at the end of its turn: `{collection}` stays as it was",
                    evidence=(Evidence(f"`{collection}` is read here", analysis.source.place(later[0])),),
                    fix=f"Write into `{collection}[i]`, or collect the results.",
                )


def _makes_a_new_one(analysis: Analysis, value: ast.expr, element: str) -> bool:
    """Say whether a value surely is another object than the element: what is called may change that in place."""
    if not isinstance(value, ast.Call):
        return True
    func = value.func
    if not isinstance(func, ast.Attribute) or func.attr in _IN_PLACE or func.attr.endswith("_"):
        return False
    names = {call.name for call in analysis.method_calls(func.attr) if call.node is value}
    return getattr(func.value, "id", "") == element or any(name.startswith(("torch.", "numpy.")) for name in names)


def _whole_in_each_turn(analysis: Analysis, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Iterator[Hit]:
    """Yield uses of a whole collection in a comprehension over it that never reads the element."""
    if len(node.generators) != 1:
        return
    generator = node.generators[0]
    parts = [node.elt, *generator.ifs]
    read = [one for part in parts for one in nodes_of(part, ast.Name)]
    for element, collection in _pairs(generator.target, generator.iter):
        if element.startswith("_") or any(one.id == element for one in read):
            continue
        parents = {child: one for part in parts for one in walk(part) for child in children(one)}
        for use in read:
            parent = parents.get(use)
            name = getattr(parent.func, "attr", getattr(parent.func, "id", "")) if isinstance(parent, ast.Call) else ""
            counted = name in ("len", "next", "id") or _DRAWS.search(name) is not None
            whole = isinstance(parent, ast.Call | ast.BinOp | ast.keyword | ast.List) and not counted
            if use.id == collection and whole:
                yield Hit(
                    place=analysis.source.place(use),
                    message=f"each turn works on all of `{collection}`, and `{element}` is never read",
                    evidence=(Evidence("the loop", analysis.source.place(generator.target)),),
                    fix=f"Use `{element}`.",
                )


_DRAWS = re.compile(r"choice|sample|rand|shuffle|permut|pop", re.IGNORECASE)


def _batches_of_the_other_loop(analysis: Analysis) -> Iterator[Hit]:
    """Yield reads of a training loop's variable in a loop over validation batches that has one of its own."""
    loops = [one for kind in (ast.For, ast.AsyncFor) for one in analysis.nodes.get(kind, []) if isinstance(one, _Loop)]
    every = {name for one in loops for name in _bound(one.target)}
    for loop in loops:
        for name in _bound(loop.target):
            matched = _EVALUATION.match(name)
            other = (matched.group(1) or matched.group(2)) if matched else ""
            if not other or other not in every or other in _bound(loop.target):
                continue
            inside = [one for part in loop.body for one in walk(part)]
            if any(isinstance(one, Def | ast.Lambda) for one in inside):
                continue
            uses = [one for one in inside if isinstance(one, ast.Name) and one.id == other]
            if any(_compares(one, name, other) for one in inside):
                continue
            if uses and all(isinstance(one.ctx, ast.Load) for one in uses):
                yield Hit(
                    place=analysis.source.place(uses[0]),
                    message=f"`{other}` is of another loop; this one has `{name}`",
                    evidence=(Evidence("the loop", analysis.source.place(loop.target)),),
                    fix=f"Use `{name}`.",
                )


def _compares(node: ast.AST, name: str, other: str) -> bool:
    """Say whether the values of both loops stand side by side."""
    parts: list[ast.expr] = []
    if isinstance(node, ast.Call):
        parts = [*node.args, *(one.value for one in node.keywords)]
    elif isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    return {name, other} <= {one.id for one in parts if isinstance(one, ast.Name)}


def _bound(target: ast.expr) -> set[str]:
    return {one.id for one in nodes_of(target, ast.Name)}
