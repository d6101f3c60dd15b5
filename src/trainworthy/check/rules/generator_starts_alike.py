"""A new generator without a seed draws the same numbers each time.

What it finds:
    `g = torch.Generator()` in a function that draws from it, where it is seeded on one path only, or not at all.

Why:
    A new `torch.Generator` always starts from the same built-in seed, not from the system's: every call of the function
    draws the same numbers, whatever the global seed.

How sure:
    The generator is made and drawn from in one function, and nothing there seeds it or sets its state on the other
    path.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, keyword, scope_of
from trainworthy.check.static.tree import own, unparsed, walk

BAD = """\
import torch


def sample(rows, seed=None):
    g = torch.Generator()  # <- TW618
    if seed is not None:
        g.manual_seed(seed)
    return rows[torch.randperm(len(rows), generator=g)]
"""

GOOD = """\
import torch


def sample(rows, seed=None):
    g = torch.Generator()
    if seed is not None:
        g.manual_seed(seed)
    else:
        g.seed()
    return rows[torch.randperm(len(rows), generator=g)]
"""

_SEEDS = frozenset({"manual_seed", "seed", "set_state"})
_DRAWS = frozenset(
    "rand randn randint randperm multinomial bernoulli normal random_ uniform_ normal_ exponential_ bernoulli_ "
    "trunc_normal_ geometric_".split()
)


@rule(code="TW618", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at generators made in functions."""
    if "Generator" not in analysis.source.words or "torch" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.Assign, ()):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name) or not _is_made(node.value):
            continue
        scope = scope_of(node, analysis.parents)
        if not isinstance(scope, ast.FunctionDef) or scope.name.startswith(("__init__", "main", "test")):
            continue
        name = node.targets[0].id
        draw = _draw(scope, name)
        if draw is not None and not _is_seeded(scope, name, node, analysis.parents):
            yield Hit(
                place=analysis.place(node),
                message=f"without a seed `{name}` starts alike in every call, and draws the same numbers",
                evidence=(Evidence("it is drawn from here", analysis.place(draw)),),
                fix=f"Call `{name}.seed()` where no seed is given, or draw from the global generator.",
            )


def _is_made(node: ast.expr) -> bool:
    return called(node) == "Generator" and "random" not in unparsed(node)


def _draw(scope: ast.AST, name: str) -> ast.Call | None:
    """Return a draw from the generator."""
    nodes = own(scope) if isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) else ()
    for one in nodes:
        if isinstance(one, ast.Call) and called(one) in _DRAWS:
            given = keyword(one, "generator")
            if isinstance(given, ast.Name) and given.id == name:
                return one
    return None


def _is_seeded(scope: ast.AST, name: str, made: ast.stmt, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether every path seeds the generator, or something else may."""
    for one in walk(scope):
        if not isinstance(one, ast.Name) or one.id != name or not isinstance(one.ctx, ast.Load):
            continue
        around = parents.get(one)
        if isinstance(around, ast.Attribute):
            if around.attr in _SEEDS and (
                parents.get(made) is _block_of(one, parents) or _is_in_both(one, parents, name)
            ):
                return True
        elif not isinstance(around, ast.keyword) and not isinstance(around, ast.Compare):
            return True  # handed on, kept or returned
        elif isinstance(around, ast.keyword) and around.arg != "generator":
            return True
    return False


def _block_of(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST | None:
    """Return the statement or function whose body the statement of a node is in."""
    while node in parents and not isinstance(node, ast.stmt):
        node = parents[node]
    return parents.get(node)


def _is_in_both(node: ast.AST, parents: dict[ast.AST, ast.AST], name: str) -> bool:
    """Say whether the other branch seeds, too, or leaves; or the condition only asks for an attribute that is set."""
    condition = _block_of(node, parents)
    if not isinstance(condition, ast.If) or name in unparsed(condition.test):
        return True
    of_attribute = isinstance(condition.test, ast.Compare) and isinstance(condition.test.left, ast.Attribute)
    asks_for_none = any(isinstance(one, ast.Constant) and one.value is None for one in walk(condition.test))
    return bool(condition.orelse) or (of_attribute and asks_for_none)
