"""One random generator gets a fixed seed where the others get the run's.

What it finds:
    `np.random.seed(331)` in a program that seeds torch with `args.seed`; `random.seed(0)` beside
    `torch.manual_seed(worker_id)` in a function that seeds each worker.

Why:
    What that generator draws is the same in every run, or in every worker: another seed shows half of the variance
    only, and workers repeat each other's augmentation.

How sure:
    Both seeds are set in one function, or by the program itself, under the same conditions, and each for good: nothing
    seeds the same generator again there. Silent where the seed stands beside the draw that it is for, as for a split;
    where the function draws, and never from that generator; and about torch where the others go by the rank, as
    models begin alike on all ranks and data do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import own, unparsed, walk

BAD = """\
import random

import numpy as np
import torch


def seed_worker(worker_id):
    random.seed(0)  # <- TW684
    np.random.seed(worker_id)
    torch.manual_seed(worker_id)
"""

GOOD = """\
import random

import numpy as np
import torch


def seed_worker(worker_id):
    random.seed(worker_id)
    np.random.seed(worker_id)
    torch.manual_seed(worker_id)
"""

_SEEDS = {
    "random.seed": "random",
    "numpy.random.seed": "numpy",
    "torch.manual_seed": "torch",
    "torch.random.manual_seed": "torch",
}


@rule(code="TW684", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions, and the program itself, that seed several generators."""
    if "torch" not in analysis.source.words or is_a_test(analysis.source):
        return
    every = [one for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call)]
    seeding = {one: name for one in every if (name := _library(analysis.source, one))}
    if len(set(seeding.values())) < 2:
        return
    for body in (analysis.source.tree, *functions_of(analysis.nodes)):
        inside = set(own(body))
        yield from _in_one(analysis, {one: name for one, name in seeding.items() if one in inside}, own(body))


def _in_one(analysis: Analysis, calls: dict[ast.Call, str], nodes: Sequence[ast.AST]) -> Iterator[Hit]:
    following = [one for one in calls if _follows(one.args[0])]
    drawn = {library for one in nodes if isinstance(one, ast.Call) and (library := _drawn_from(analysis.source, one))}
    for call, library in calls.items():
        value = call.args[0]
        fixed = isinstance(value, ast.Constant) and type(value.value) is int
        if not fixed or list(calls.values()).count(library) > 1 or (drawn and library not in drawn):
            continue
        others = [one for one in following if _around(analysis, one) == _around(analysis, call)]
        if library == "torch":
            others = [one for one in others if "rank" not in unparsed(one.args[0])]
        if others and not _is_drawn_between(analysis.source, call, others[-1], nodes):
            theirs = unparsed(others[0].args[0])
            yield Hit(
                place=analysis.place(call),
                message=f"`{library}` always begins with {unparsed(value)}, whatever `{theirs}` is",
                evidence=(Evidence("another generator", analysis.place(others[0])),),
                fix=f"Seed it with `{theirs}`, too.",
            )


def _library(source: Source, call: ast.Call) -> str:
    """Name the library that a call seeds; "" if it seeds none with one value."""
    if len(call.args) != 1 or call.keywords or getattr(call.func, "attr", "") not in ("seed", "manual_seed"):
        return ""
    return _SEEDS.get(full_name(source, call.func), "")


def _follows(value: ast.expr) -> bool:
    """Say whether a seed is a variable, or computed from one: no constant's name, which is in capitals."""
    names = [one for one in walk(value) if isinstance(one, ast.Name | ast.Attribute)]
    last = [getattr(one, "attr", getattr(one, "id", "")) for one in names]
    return bool(names) and not any(one.isupper() for one in last)


def _around(analysis: Analysis, node: ast.AST) -> tuple[ast.AST, ...]:
    """Return the conditions and loops around a call, within its function."""
    found = []
    while (parent := analysis.parents.get(node)) is not None and not isinstance(
        parent, ast.FunctionDef | ast.AsyncFunctionDef
    ):
        if isinstance(parent, ast.If | ast.For | ast.While | ast.Try):
            found.append(parent)
        node = parent
    return tuple(found)


def _is_drawn_between(source: Source, call: ast.Call, other: ast.Call, nodes: Sequence[ast.AST]) -> bool:
    """Say whether the generator draws between a seed and another's, so that the seed is for that draw."""
    first, last = sorted((call.lineno, other.lineno))
    between = [one for one in nodes if isinstance(one, ast.Call) and first < one.lineno < last]
    return any(_drawn_from(source, one) == _library(source, call) for one in between)


_TORCH_DRAWS = frozenset({"uniform_", "normal_", "random_", "bernoulli_", "exponential_", "log_normal_", "cauchy_"})
_NO_DRAWS = frozenset(
    {"seed", "manual_seed", "default_rng", "RandomState", "Generator", "Random", "get_state", "getstate"}
)


def _drawn_from(source: Source, call: ast.Call) -> str:
    """Name the library whose generator a call draws from; "" if it draws nothing."""
    name = getattr(call.func, "attr", "")
    if name in _NO_DRAWS:
        return ""
    if name in _TORCH_DRAWS:
        return "torch"
    full = full_name(source, call.func)
    prefixes = {"random.": "random", "numpy.random.": "numpy", "torch.rand": "torch"}
    return next((library for prefix, library in prefixes.items() if full.startswith(prefix)), "")
