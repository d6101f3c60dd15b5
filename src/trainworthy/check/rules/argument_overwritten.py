"""A parameter is given another value before anything reads it.

What it finds:
    A function whose body gives a parameter a new value, without a condition and without reading it first.

Why:
    Whatever the caller hands in has no effect.

How sure:
    Certain, in that function. Silent about parameters that nobody hands in, about what a method has for the sake of an
    interface, about options that are parsed, and about names that say so (`_`, `unused`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_of, is_stub
from trainworthy.check.static.tree import walk

BAD = """\
import torch


def neighbours(positions, r, batch):
    r = torch.cdist(positions, positions)  # <- TW853
    near = ((r < 1.0) & (r > 0)).nonzero().T
    return near[:, batch[near[0]] == batch[near[1]]]


print(neighbours(torch.rand(4, 3), 2.0, torch.zeros(4)))
"""

GOOD = """\
import torch


def neighbours(positions, r, batch):
    distances = torch.cdist(positions, positions)
    near = ((distances < r) & (distances > 0)).nonzero().T
    return near[:, batch[near[0]] == batch[near[1]]]


print(neighbours(torch.rand(4, 3), 2.0, torch.zeros(4)))
"""


@rule(code="TW853", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions with parameters."""
    if "torch" not in analysis.source.words:
        return
    for node in functions_of(analysis.nodes):
        if node.decorator_list or is_stub(node) or (node.name.startswith("__") and node.name != "__init__"):
            continue
        names = bindings_of(node)
        if names.opaque or _may_be_of_an_interface(analysis, node):
            continue
        for parameter in names.parameters:
            if parameter in ("self", "cls", "args", "opt", "config", "cfg") or parameter.startswith(("_", "unused")):
                continue
            found = _overwritten(node, parameter) if parameter in names.stores else None
            if found is not None and _is_handed_in(analysis, node, parameter):
                yield Hit(
                    place=analysis.place(found),
                    message=f"`{parameter}`, a parameter of `{node.name}`, is overwritten before anything reads it",
                    evidence=(Evidence("the function", analysis.place(node.args)),) if node.args.args else (),
                    fix="Give this another name, or remove the parameter.",
                )


def _may_be_of_an_interface(analysis: Analysis, node: Def) -> bool:
    """Say whether a method may have its parameters for the sake of another class."""
    cls = analysis.parents.get(node)
    if not isinstance(cls, ast.ClassDef):
        return False
    bases = {ast.unparse(one) for one in cls.bases}
    if bases - {"nn.Module", "torch.nn.Module", "object", "Module"}:
        return True
    others = [one for one in analysis.nodes.get(ast.ClassDef, []) if isinstance(one, ast.ClassDef) and one is not cls]
    return any(cls.name in {ast.unparse(base) for base in one.bases} for one in others)


def _overwritten(node: Def, parameter: str) -> ast.Assign | None:
    """Return the statement of the body that gives a parameter a new value before it is read."""
    for statement in node.body:
        uses = [one for one in walk(statement) if isinstance(one, ast.Name) and one.id == parameter]
        if not uses:
            continue
        plain = isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == parameter for target in statement.targets
        )
        alone = all(isinstance(one.ctx, ast.Store) for one in uses)
        return statement if plain and alone and isinstance(statement, ast.Assign) else None
    return None


def _is_handed_in(analysis: Analysis, node: Def, parameter: str) -> bool:
    """Say whether a call in this file hands in that argument, and not None, or every caller must."""
    arguments = node.args
    positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    at = positional.index(parameter) - (positional[:1] in (["self"], ["cls"])) if parameter in positional else 999
    given: list[ast.expr] = []
    for call in analysis.nodes.get(ast.Call, []):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) == node.name:
            given += call.args[at : at + 1] + [one.value for one in call.keywords if one.arg == parameter]
    if given:
        return not all(isinstance(one, ast.Constant) and one.value is None for one in given)
    return parameter in positional[: len(positional) - len(arguments.defaults)] and _is_only_called(analysis, node)


def _is_only_called(analysis: Analysis, node: Def) -> bool:
    """Say whether a function of the module is called here, and handed to nobody."""
    uses = [one for one in analysis.nodes.get(ast.Name, []) if getattr(one, "id", "") == node.name]
    called = all(getattr(analysis.parents.get(one), "func", None) is one for one in uses)
    return isinstance(analysis.parents.get(node), ast.Module) and bool(uses) and called
