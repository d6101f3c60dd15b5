"""An iterator is made once and gone through in every turn of a loop: after the first it is empty.

What it finds:
    `batches = iter(loader)`, `zip(...)`, `map(...)` or a generator expression before a loop, and `for x in batches` in
    each turn of it.

Why:
    From the second epoch on the inner loop takes no turn: nothing is trained or evaluated, and nothing fails.

How sure:
    Certain: the iterator is not made anew in the loop, the inner loop leaves nothing over by `break`, and nothing else
    takes from it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import scope_of
from trainworthy.check.static.bindings import loops_around
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch


def train(model, loader, optimizer):
    batches = map(torch.relu, loader)
    for epoch in range(10):
        for x in batches:  # <- TW573
            optimizer.zero_grad()
            model(x).mean().backward()
            optimizer.step()
"""

GOOD = """\
import torch


def train(model, loader, optimizer):
    for epoch in range(10):
        batches = map(torch.relu, loader)
        for x in batches:
            optimizer.zero_grad()
            model(x).mean().backward()
            optimizer.step()
"""

_MAKERS = frozenset({"iter", "zip", "map", "filter", "enumerate", "reversed"})


@rule(code="TW573", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops over names within loops."""
    if "torch" not in analysis.source.words:
        return
    for inner in analysis.nodes.get(ast.For, []):
        over = _through(inner.iter) if isinstance(inner, ast.For) else None
        if not isinstance(inner, ast.For) or not isinstance(over, ast.Name):
            continue
        outer = loops_around(analysis.parents, inner)
        scope = scope_of(inner, analysis.parents)
        made = _made(scope, over.id)
        if not outer or made is None or any(isinstance(one, ast.Break | ast.Return) for one in walk(inner)):
            continue
        loop = next((one for one in reversed(outer) if all(made is not each for each in walk(one))), None)
        if loop is None or _leaves_at_once(loop, inner) or _is_taken_elsewhere(scope, over):
            continue
        yield Hit(
            place=analysis.place(inner.iter),
            message=f"`{over.id}` is used up after the first turn of the loop around",
            evidence=(Evidence("it is made here, once", analysis.place(made)),),
            fix="Make it in the loop, or keep a list.",
        )


def _through(node: ast.expr) -> ast.expr:
    while (
        isinstance(node, ast.Call)
        and node.args
        and unparsed(node.func).rpartition(".")[2] in ("tqdm", "enumerate", "iter")
    ):
        node = node.args[0]
    return node


def _made(scope: ast.AST, name: str) -> ast.Assign | None:
    """Return the only statement that binds a name, if it makes an iterator."""
    stores = [one for one in nodes_of(scope, ast.Name) if one.id == name and isinstance(one.ctx, ast.Store)]
    made = [one for one in nodes_of(scope, ast.Assign) if getattr(one.targets[0], "id", "") == name]
    if len(stores) != 1 or len(made) != 1:
        return None
    value = made[0].value
    fresh = isinstance(value, ast.GeneratorExp) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _MAKERS
    )
    return made[0] if fresh else None


def _leaves_at_once(loop: ast.For | ast.While, inner: ast.For) -> bool:
    """Say whether a loop ends after its turn: by a `break` or `return` in its own body, after the inner loop."""
    return any(isinstance(one, ast.Break | ast.Return) and one.lineno > inner.lineno for one in loop.body)


def _is_taken_elsewhere(scope: ast.AST, over: ast.Name) -> bool:
    """Say whether a name is read anywhere but in that loop: whoever takes from it by hand knows what it is."""
    return (
        sum(isinstance(one, ast.Name) and one.id == over.id and isinstance(one.ctx, ast.Load) for one in walk(scope))
        > 1
    )
