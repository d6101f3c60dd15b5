"""A random generator is made for each call and not seeded: every call draws the same numbers.

What it finds:
    `g = torch.Generator()` in a function that draws with `generator=g`, without `g.manual_seed(...)` or `g.seed()`, or
    with it only under `if seed is not None`.

Why:
    A new generator of torch always begins with the same default seed. What was to be random is the same permutation,
    mask or noise in every call.

How sure:
    The generator is local and draws in the same function. Silent in constructors, in `main` and in splits of a data
    set, which are drawn once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of

BAD = """\
import torch


def sample_rows(rows, count, seed=None):
    g = torch.Generator(device=rows.device)  # <- TW663
    if seed is not None:
        g.manual_seed(seed)
    order = torch.randperm(len(rows), generator=g)
    return rows[order[:count]]
"""

GOOD = """\
import torch


def sample_rows(rows, count, seed=None):
    g = torch.Generator(device=rows.device)
    if seed is not None:
        g.manual_seed(seed)
    else:
        g.seed()
    order = torch.randperm(len(rows), generator=g)
    return rows[order[:count]]
"""

_ONCE = re.compile(r"^__init__$|^main|split|setup|prepare|^test_|_test$|init|build|create|make|get_.*(loader|set|data)")
_SETS = frozenset({"manual_seed", "seed", "set_state"})
_DRAWS = frozenset("rand randn randint randperm rand_like randn_like randint_like normal bernoulli multinomial poisson "
                   "uniform_ normal_ bernoulli_ random_ exponential_".split())  # fmt: skip


@rule(code="TW663", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions that make a generator."""
    if not {"torch", "Generator", "generator"} <= analysis.source.words:
        return
    for function in functions_of(analysis.nodes):
        if _ONCE.search(function.name):
            continue
        names = bindings_of(function)
        for statement, name in names.plain_assignments():
            if not _makes_a_generator(statement.value) or len(names.stores[name]) > 1:
                continue
            drawn = _drawn(names, name)
            if (
                drawn is not None
                and not _is_seeded(analysis, names, name, statement)
                and _is_local(analysis, names, name)
            ):
                yield Hit(
                    place=analysis.place(statement),
                    message=f"`{name}` begins with the same seed in every call of `{function.name}`",
                    evidence=(Evidence("what is drawn here is always the same", analysis.place(drawn)),),
                    fix=f"Seed it in all cases: `{name}.seed()` takes a seed of the system.",
                )


def _makes_a_generator(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "torch.Generator"


def _drawn(names: Bindings, name: str) -> ast.Call | None:
    for call in names.calls:
        given = [getattr(one.value, "id", "") for one in call.keywords if one.arg == "generator"]
        if name in given and getattr(call.func, "attr", getattr(call.func, "id", "")) in _DRAWS:
            return call
    return None


def _is_seeded(analysis: Analysis, names: Bindings, name: str, made: ast.Assign) -> bool:
    """Say whether a generator gets a seed or a state wherever the function runs."""
    found = []
    for call in names.calls:
        func = call.func if isinstance(call.func, ast.Attribute) else None
        if func is not None and getattr(func.value, "id", "") == name and func.attr in _SETS:
            found.append(call)
    if not found:
        return False
    around = analysis.parents.get(made)
    for call in found:
        statement = analysis.parents.get(call)
        parent = analysis.parents.get(statement) if statement is not None else None
        if not isinstance(parent, ast.If) or parent is around:
            return True
        asks = ast.unparse(parent.test)
        if not asks.endswith("is not None") or parent.orelse:
            return True
    return False


def _is_local(analysis: Analysis, names: Bindings, name: str) -> bool:
    """Say whether a generator only draws here: it is returned, kept or handed on to nobody."""
    for read in names.reads.get(name, ()):
        parent = analysis.parents.get(read)
        if not isinstance(parent, ast.Attribute | ast.keyword) or (
            isinstance(parent, ast.keyword) and parent.arg != "generator"
        ):
            return False
    return not any(isinstance(one, ast.For | ast.While) for one in _around(analysis, names, name))


def _around(analysis: Analysis, names: Bindings, name: str) -> Iterator[ast.AST]:
    """Yield the loops around the draws: within them, the numbers are not the same."""
    drawn = _drawn(names, name)
    node: ast.AST | None = drawn
    while node is not None and node is not names.function:
        yield node
        node = analysis.parents.get(node)
