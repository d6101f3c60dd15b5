"""A parameter is overwritten before anything reads it.

What it finds:
    `def neighbours(positions, r): r = torch.cdist(positions, positions)`: the first thing that the function does with
    its parameter is to bind the name to something that is not made of it.

Why:
    What the caller passes has no effect: the radius is always the one that is written further down.

How sure:
    The statement stands in the function's own body, under no condition, and nothing before it mentions the name, which
    has no default: every caller has to give it. Silent for `forward`, for methods of classes with a base of their own,
    for decorated functions and stubs, and for what is handed out as a value, in a dictionary, a list or as a callback,
    and so has to take what its like takes. A hint, for most such parameters are only left over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_of, is_stub
from trainworthy.check.static.tree import unparsed

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


@rule(code="TW835", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the plain statements of functions."""
    if "torch" not in analysis.source.words:
        return
    owners = {one: cls for cls in analysis.nodes.get(ast.ClassDef, []) for one in getattr(cls, "body", [])}
    for node in functions_of(analysis.nodes):
        given = _required(node)
        bound = [(one, name) for one in node.body for name in _bound(one) if name in given]
        if not bound or is_stub(node) or node.decorator_list or _is_of_an_interface(owners.get(node), node):
            continue
        names = bindings_of(node)
        if names.opaque or _is_handed_out(analysis, node.name):
            continue
        for statement, name in bound:
            if _is_first_mention(names, statement, name):
                yield Hit(
                    place=analysis.source.place(statement),
                    message=f"`{name}` is overwritten before anything reads what `{node.name}` was given",
                    fix="Use the parameter, or give the new value another name.",
                )


def _is_handed_out(analysis: Analysis, name: str) -> bool:
    """Say whether a function of that name is a value in the file, and not only called."""
    called = {one.func for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call)}
    values = [one for kind in (ast.Name, ast.Attribute) for one in analysis.nodes.get(kind, []) if one not in called]
    return any(name in (getattr(one, "id", ""), getattr(one, "attr", "")) for one in values
               if isinstance(getattr(one, "ctx", None), ast.Load))  # fmt: skip


def _required(node: Def) -> set[str]:
    """Return the parameters without a default: who calls the function has to give them."""
    positional = [*node.args.posonlyargs, *node.args.args]
    found = positional[: len(positional) - len(node.args.defaults)]
    only = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return {one.arg for one in (*found, *(one for one, default in only if default is None))}


def _is_of_an_interface(owner: ast.AST | None, node: Def) -> bool:
    """Say whether a method may have its parameters because its callers, or a base, want them."""
    if owner is None or node.name == "__init__":
        return False
    bases = {unparsed(one).rpartition(".")[2] for one in getattr(owner, "bases", [])}
    return bool(bases - {"Module", "object"}) or node.name in ("forward", "__call__")


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
