"""A parameter is overwritten before anything reads it.

What it finds:
    `def neighbours(positions, r): r = torch.cdist(positions, positions)`: the first thing that the function does with
    its parameter is to bind the name to something that is not made of it.

Why:
    What the caller passes has no effect: the radius is always the one that is written further down.

How sure:
    The statement stands in the function's own body, under no condition, and nothing before it mentions the name. Silent
    for methods that others override or that a base class has, for decorated functions and stubs, for names of
    placeholders, and where what is bound is a default of the same kind for callers of an older version (`verbose =
    False`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_of, is_stub
from trainworthy.check.static.tree import walk

BAD = """\
import torch


def neighbours(positions, r, batch):
    r = torch.cdist(positions, positions)  # <- TW835
    index = ((r < 1.0) & (r > 0)).nonzero().T
    return index[:, batch[index[0]] == batch[index[1]]]
"""

GOOD = """\
import torch


def neighbours(positions, r_max, batch):
    r = torch.cdist(positions, positions)
    index = ((r < r_max) & (r > 0)).nonzero().T
    return index[:, batch[index[0]] == batch[index[1]]]
"""


@rule(code="TW835", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the plain statements of functions."""
    if "torch" not in analysis.source.words:
        return
    for node in functions_of(analysis.nodes):
        arguments = node.args
        given = {one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        bound = [(one, name) for one in node.body for name in _bound(one) if name in given]
        if not bound or is_stub(node) or node.decorator_list:
            continue
        names = bindings_of(node)
        if names.opaque:
            continue
        for statement, name in bound:
            if _is_first_mention(names, statement, name):
                yield Hit(
                    place=analysis.source.place(statement),
                    message=f"`{name}` is overwritten before anything reads what `{node.name}` was given",
                    fix="Use the parameter, or give the new value another name.",
                )


def _bound(statement: ast.stmt) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    for target in targets:
        for one in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
            if isinstance(one, ast.Name):
                yield one.id


def _is_first_mention(names: Bindings, statement: ast.stmt, name: str) -> bool:
    end = (statement.end_lineno or statement.lineno, statement.end_col_offset or 0)
    start = (statement.lineno, statement.col_offset)
    mentions = [*names.reads.get(name, []), *names.stores.get(name, [])]
    before = [one for one in mentions if (one.lineno, one.col_offset) < end]
    return all((one.lineno, one.col_offset) >= start and isinstance(one.ctx, ast.Store) for one in before)
