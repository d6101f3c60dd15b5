"""A sum of one epoch goes on with the sums of the epochs before.

What it finds:
    `total = 0` above the loop over epochs, `total += loss.item()` in the loop over batches, and `total / len(loader)`
    after each epoch, with nothing that sets `total` to 0 in between.

Why:
    What is called the mean of an epoch is the sum of all means so far: losses seem to grow, accuracies pass 100 %, and
    the best epoch is the last or the first.

How sure:
    The sum is bound once, to a number, above the outer loop, and divided in it, after the inner loop, by the length of
    what the inner one goes through. Silent if it is divided by the number of epochs, too, or an older sum is taken off.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, functions_of
from trainworthy.check.static.tree import nodes_of, own, unparsed, walk

BAD = """\
import torch


def evaluations(model, loader, epochs):
    correct = 0
    for epoch in range(epochs):
        for x, y in loader:
            correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct / len(loader.dataset))  # <- TW326
"""

GOOD = """\
import torch


def evaluations(model, loader, epochs):
    for epoch in range(epochs):
        correct = 0
        for x, y in loader:
            correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct / len(loader.dataset))
"""

_Loop = ast.For | ast.While


@rule(code="TW326", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops within loops."""
    if "torch" not in analysis.source.words:
        return
    for scope in (analysis.source.tree, *functions_of(analysis.nodes)):
        for outer in own(scope):
            if isinstance(outer, _Loop):
                yield from _in_loop(analysis, scope, outer)


def _in_loop(analysis: Analysis, scope: ast.Module | Def, outer: _Loop) -> Iterator[Hit]:
    for inner in _inner_loops(outer):
        added = {
            one.target.id
            for one in nodes_of(inner, ast.AugAssign)
            if isinstance(one.op, ast.Add) and isinstance(one.target, ast.Name)
            if not _counts(one.value)
        }
        for name in sorted(added):
            start = _bound_once(scope, outer, name)
            if start is None:
                continue
            means = (one for one in walk(outer) if _is_mean(one, name, inner))
            mean = next((one for one in means if not _is_over_all(analysis, one, outer)), None)
            if mean is not None:
                yield Hit(
                    place=analysis.place(mean),
                    message=f"`{name}` still holds the sums of the turns before, and is divided by the length of one",
                    evidence=(Evidence("it is set to its start once, here", analysis.place(start)),),
                    fix=f"Set `{name}` to 0 at the head of each turn.",
                )


def _is_over_all(analysis: Analysis, mean: ast.AST, outer: _Loop) -> bool:
    """Say whether a mean is divided further, by the number of turns so far."""
    above = analysis.parents.get(mean)
    turn = {one.id for one in nodes_of(outer.target, ast.Name)} if isinstance(outer, ast.For) else set()
    divides = isinstance(above, ast.BinOp) and isinstance(above.op, ast.Div) and above.left is mean
    return divides and isinstance(above, ast.BinOp) and any(getattr(one, "id", "") in turn for one in walk(above.right))


def _counts(value: ast.expr) -> bool:
    """Say whether a number of samples or turns is added: all of them by the length of one epoch are epochs."""
    if isinstance(value, ast.Constant):
        return True
    text = unparsed(value)
    return text.startswith("len(") or ".size(" in text or ".shape[" in text or "batch_size" in text


def _inner_loops(outer: _Loop) -> Iterator[ast.For]:
    """Yield the loops of each turn, those below a `with` included."""
    left = list(outer.body)
    while left:
        one = left.pop(0)
        if isinstance(one, ast.With):
            left = [*one.body, *left]
        elif isinstance(one, ast.For):
            yield one


def _bound_once(scope: ast.AST, outer: _Loop, name: str) -> ast.Assign | None:
    """Return the one statement that binds a name, if it binds it to a number above a loop."""
    statements = [one for one in walk(scope) if isinstance(one, ast.stmt)]
    bound = [
        one
        for one in statements
        if not isinstance(one, ast.AugAssign)
        and any(
            isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store)
            for target in getattr(one, "targets", [getattr(one, "target", None)])
            if target is not None
            for part in walk(target)
        )
    ]
    if len(bound) != 1 or not isinstance(bound[0], ast.Assign) or bound[0].lineno >= outer.lineno:
        return None
    if any(bound[0] in walk(one) for one in statements if isinstance(one, _Loop)):
        return None
    value = bound[0].value
    values = value.elts if isinstance(value, ast.Tuple) else [value]
    return (
        bound[0] if all(isinstance(one, ast.Constant) and type(one.value) in (int, float) for one in values) else None
    )


def _is_mean(node: ast.AST, name: str, inner: ast.For) -> bool:
    """Say whether a sum is divided, after a loop, by the length of what that goes through."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div) or node.lineno <= (inner.end_lineno or 0):
        return False
    if not any(isinstance(one, ast.Name) and one.id == name for one in walk(node.left)):
        return False
    if any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub) for one in walk(node.left)):
        return False
    by = node.right
    if not isinstance(by, ast.Call) or getattr(by.func, "id", "") != "len" or len(by.args) != 1:
        return False
    through = {unparsed(one) for one in walk(inner.iter) if isinstance(one, ast.Name | ast.Attribute)}
    return unparsed(by.args[0]).removesuffix(".dataset").removesuffix(".sampler") in through
