"""The seed is set after the model was made.

What it finds:
    `torch.manual_seed(...)` below the line that makes the model, in a program that sets no seed before.

Why:
    The weights are initialised by other numbers in every run: two runs with one seed are not the same.

How sure:
    Both stand in one function, the model is a module with parameters of its own, and its weights are not loaded. Silent
    if any seed is set anywhere else in the file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Store
from trainworthy.check.static.queries import PARAMETRISED, body_of, once_per_place
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Instance

BAD = """\
import torch


def run(loader, seed):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    torch.manual_seed(seed)  # <- TW672
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in loader:
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
"""

GOOD = """\
import torch


def run(loader, seed):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in loader:
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
"""


_OTHERS = frozenset({"torch.cuda.manual_seed", "?.manual_seed"})
_SEEDS = frozenset({"manual_seed", "seed_everything", "set_seed", "set_random_seed", "seed_all", "setup_seed"})


@rule(code="TW672", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the one place where a program sets a seed."""
    words = analysis.source.words
    if "torch" not in words or not words & _SEEDS or not words & {"backward", "optim", "DataLoader"}:
        return
    seeds = [one for one in once_per_place(analysis.method_calls(*_SEEDS))
             if one.context.source is analysis.source and one.name not in _OTHERS
             and not one.name.endswith("Generator.manual_seed") and not _sets_seeds(analysis, one.node)]  # fmt: skip
    if len(seeds) != 1 or seeds[0].context.loops or seeds[0].context.branches:
        return
    seed = seeds[0]
    for call in analysis.nodes.get(ast.Call, []):
        name = unparsed(call.func) if isinstance(call, ast.Call) else ""
        earlier = isinstance(call, ast.Call) and (call.lineno < seed.node.lineno or "fork" in name)
        if "seed" in name and earlier and not _sets_seeds(analysis, call):
            return
    body = body_of(seed.context)
    if any(isinstance(one, ast.Expr) and "load_state_dict(" in unparsed(one) for one in getattr(body, "body", [])):
        return
    made = [one for one in analysis.stores if body_of(one.context) is body and _makes_a_model(one)
            and one.node.lineno < seed.node.lineno and one.context.source is analysis.source]  # fmt: skip
    if made and not re.search(r"from_pretrained|pretrained=True", analysis.source.code):
        yield Hit(
            place=analysis.place(seed.node, seed.context),
            message=f"`{unparsed(made[0].target)}` is made before the seed is set: its weights differ in every run",
            evidence=(Evidence("the model", analysis.place(made[0].node)),),
            fix="Set the seed first.",
        )


def _sets_seeds(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether something stands in a function that is called for setting seeds: where it is called counts."""
    while node in analysis.parents:
        node = analysis.parents[node]
        if isinstance(node, ast.FunctionDef):
            return "seed" in node.name or "determin" in node.name
    return False


def _makes_a_model(store: Store) -> bool:
    """Say whether an assignment makes a module that has parameters."""
    value = store.value
    made = value.made_by if isinstance(value, Instance) else None
    if not isinstance(value, Instance) or made is None or not is_module(value):
        return False
    if not any(one is made.node for one in walk(store.node)):
        return False
    last = value.type.rpartition(".")[2]
    return value.cls is not None or last in PARAMETRISED or last == "Sequential"
