"""An index into a list of batches is set before a loop, used in it, and never moved.

What it finds:
    `j = 0` before a loop, `batch = batches[j]` in it, where `batches` is a list that was made before, and no `j += 1`
    anywhere in the function.

Why:
    Every turn takes the first element: the second data set of a domain adaptation, or the second source of a mixture,
    is one batch.

How sure:
    The name is bound once in the function, to a number, is named like an index, and is read for nothing else. An
    element that is meant to stay the same is taken before the loop, or by its number.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import integer
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
def train(model, optimizer, source, target):
    targets = list(target)
    j = 0
    for x, y in source:
        z, _ = targets[j]  # <- TW514
        loss = model(x, y, z)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
GOOD = BAD.replace("  # <- TW514", "").replace("        loss = ", "        j = (j + 1) % len(targets)\n        loss = ")

_INDEX = re.compile(
    r"(^|_)(i|j|k|n|idx|ind|index|iter|it|ptr|cursor|pos|position|counter|count|cnt|batch|step)(_?\w)?$"
)


@rule(code="TW514", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions with numbers that look like indices."""
    for start in analysis.nodes.get(ast.Assign, ()):
        function = function_around(analysis.parents, start) if _is_start(start) else None
        if function is None or not isinstance(start, ast.Assign) or not isinstance(start.targets[0], ast.Name):
            continue
        name, names = start.targets[0].id, bindings_of(function)
        used = names.reads.get(name, ())
        if len(names.stores.get(name, ())) != 1 or name in names.declared or not used:
            continue
        places = [analysis.parents.get(one) for one in used]
        loops = [_loop_around(analysis, one, start) for one in used]
        if all(_takes(place, one, names) for place, one in zip(places, used, strict=True)) and all(loops):
            yield Hit(
                place=analysis.place(used[0]),
                message=f"`{name}` is {unparsed(start.value)} in every turn: it is never moved",
                evidence=(Evidence("it is set here", analysis.place(start)),),
                fix=f"Add `{name} += 1`, or go through both with zip.",
            )


def _is_start(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return False
    return integer(node.value) is not None and _INDEX.search(node.targets[0].id) is not None


def _takes(place: ast.AST | None, index: ast.AST, names: Bindings) -> bool:
    """Say whether an index takes an element of a list that the function made."""
    if not isinstance(place, ast.Subscript) or place.slice is not index or not isinstance(place.value, ast.Name):
        return False
    made = [one.value for one, target in names.plain_assignments() if target == place.value.id]
    made += [pair for one in walk(names.function) for pair in _unpacked(one, place.value.id)]
    return len(made) == 1 and isinstance(made[0], ast.Call) and getattr(made[0].func, "id", "") in ("list", "tuple")


def _unpacked(node: ast.AST, name: str) -> list[ast.expr]:
    """Return what a name is given in ``a, b = x, y``."""
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    if not isinstance(target, ast.Tuple) or not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return []
    return [value for one, value in zip(target.elts, node.value.elts, strict=False) if getattr(one, "id", "") == name]


def _loop_around(analysis: Analysis, node: ast.AST, start: ast.Assign) -> bool:
    """Say whether a loop that began after the index was set is around a node."""
    while node in analysis.parents:
        node = analysis.parents[node]
        if isinstance(node, ast.For | ast.While) and node.lineno > start.lineno:
            return True
    return False
