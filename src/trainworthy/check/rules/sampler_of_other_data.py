"""A loader draws by a sampler that was made for another data set.

What it finds:
    `DataLoader(val_set, sampler=train_sampler)` where `train_sampler = DistributedSampler(train_set)`, and the like for
    samplers made in place.

Why:
    The indices are those of another length and order: samples are left out, repeated, or an IndexError comes late. A
    sampler by class draws by the labels of other samples.

How sure:
    Neither of the two is made of the other, as far as the function shows. Samplers of indices (`Subset...`), of
    weights and of labels are left out, and so are loaders with `batch_size=None`, whose data gets what a sampler
    yields.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def loaders(train_set, val_set):
    train_sampler = DistributedSampler(train_set)
    val_sampler = DistributedSampler(val_set, shuffle=False)
    train = DataLoader(train_set, batch_size=8, sampler=train_sampler)
    val = DataLoader(val_set, batch_size=8, sampler=train_sampler)  # <- TW645
    return train, val, train_sampler, val_sampler
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def loaders(train_set, val_set):
    train_sampler = DistributedSampler(train_set)
    val_sampler = DistributedSampler(val_set, shuffle=False)
    train = DataLoader(train_set, batch_size=8, sampler=train_sampler)
    val = DataLoader(val_set, batch_size=8, sampler=val_sampler)
    return train, val, train_sampler
"""


# What a sampler of somebody's own may draw by: one entry for each sample.
_OF_SAMPLES = re.compile(r"label|target|weight|class|length|size|indic|index|\bids?\b|_ids?$|group", re.IGNORECASE)


@rule(code="TW645", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loaders with a sampler."""
    if not {"torch", "DataLoader", "sampler"} <= analysis.source.words:
        return
    for node in analysis.nodes.get(ast.Call, []):
        given = _sampler(node)
        if not isinstance(node, ast.Call) or given is None or last_name(node.func) != "DataLoader" or not node.args:
            continue
        if _has_no_indices(node):
            continue
        made = _assignments(_around(node, analysis.parents))
        samplers = made.get(given.id, []) if isinstance(given, ast.Name) else [given]
        of = [one.args[0] for one in samplers if _draws_from_data(one) and isinstance(one, ast.Call)]
        if not of or len(of) != len(samplers):
            continue
        data = _made_of(node.args[0], made) - _imported(analysis)
        whole = {unparsed(node.args[0]), *data}
        if not any(_is_part(_made_of(one, made) | {unparsed(one)}, whole) for one in of):
            yield Hit(
                place=analysis.source.place(node),
                message=f"the loader reads `{unparsed(node.args[0])}` by a sampler of `{unparsed(of[-1])}`",
                evidence=(Evidence("the sampler", analysis.source.place(samplers[-1])),),
                fix="Make the sampler of the loader's own data.",
            )


def _has_no_indices(node: ast.Call) -> bool:
    """Say whether a loader gives its data what the sampler yields as it is, such as batches of recordings."""
    return any(one.arg == "batch_size" and getattr(one.value, "value", 0) is None for one in node.keywords)


def _is_part(names: set[str], whole: set[str]) -> bool:
    """Say whether any of some names is, or belongs to, one of others."""
    return bool(names & whole) or any(one.startswith(f"{each}.") for one in names for each in whole)


def _sampler(node: ast.AST) -> ast.expr | None:
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((one.value for one in keywords if one.arg == "sampler"), None)


def _around(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST:
    """Return the function, or the module, that something stands in."""
    while node in parents and not isinstance(node, Def):
        node = parents[node]
    return node


def _assignments(body: ast.AST) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for one in walk(body):
        if isinstance(one, ast.Assign):
            for target in one.targets:
                for name in walk(target):
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(one.value)
    return found


def _draws_from_data(value: ast.expr) -> bool:
    """Say whether a value is a sampler whose first argument is the data that it draws from."""
    if not isinstance(value, ast.Call) or not value.args or not isinstance(value.args[0], ast.Name | ast.Attribute):
        return False
    name = last_name(value.func)
    if _OF_SAMPLES.search(last_name(value.args[0])):
        return False
    return name.endswith("Sampler") and not any(part in name for part in ("Subset", "Weighted", "Batch"))


def _made_of(value: ast.expr, made: dict[str, list[ast.expr]]) -> set[str]:
    """Return the names that a value is made of, through the assignments that are in sight."""
    found: set[str] = set()
    left: list[ast.expr] = [value]
    while left and len(found) < 200:
        nodes = list(walk(left.pop()))
        called = {one.func for one in nodes if isinstance(one, ast.Call)}
        roots = {one.value for one in nodes if isinstance(one, ast.Attribute) and one not in called}
        for one in nodes:
            if isinstance(one, ast.Attribute) and one not in called:
                found.add(unparsed(one))
            elif isinstance(one, ast.Name) and one not in called | roots and one.id not in found:
                found.add(one.id)
                left += made.get(one.id, [])
    return found - {"self", "args", "cfg", "config", "opt", "transform"}


def _imported(analysis: Analysis) -> set[str]:
    """Return the names of modules, which have no part in what a value is made of."""
    return {
        (one.asname or one.name).partition(".")[0]
        for kind in (ast.Import, ast.ImportFrom)
        for node in analysis.nodes.get(kind, [])
        for one in getattr(node, "names", [])
    }
