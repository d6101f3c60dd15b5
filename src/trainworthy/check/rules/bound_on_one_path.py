"""A variable is bound under a condition and read without it.

What it finds:
    `if normalise: advantages = ...` in a function, followed in the same block by a use of `advantages` that stands
    under no condition, when nothing else in the function binds the name.

Why:
    UnboundLocalError as soon as the condition does not hold: with the other value of a switch, for the other loss,
    without a seed.

How sure:
    One `if` without `else`, a use that is always reached after it, and no other binding. Silent if the branch always
    leaves the function otherwise, if a loop is around whose earlier turn may have bound the name, or if anything in
    between leaves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_around
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def sample(model, size, seed=None):
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
    return model(torch.randn(size, generator=generator))  # <- TW848
"""

GOOD = """\
import torch


def sample(model, size, seed=None):
    generator = None
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
    return model(torch.randn(size, generator=generator))
"""

_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return)
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break, ast.Assert)


@rule(code="TW848", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the blocks of functions."""
    if "torch" not in analysis.source.words:
        return
    candidates = [
        one.lineno
        for one in analysis.nodes.get(ast.If, [])
        if isinstance(one, ast.If) and not one.orelse and not isinstance(one.body[-1], _LEAVES)
    ]
    for node in functions_around(analysis.nodes, candidates):
        names = bindings_of(node)
        if names.opaque:
            continue
        for block, loops in _blocks(node.body, ()):
            yield from _in_block(analysis, names, block, loops)


def _blocks(body: list[ast.stmt], loops: tuple[ast.stmt, ...]) -> Iterator[tuple[list[ast.stmt], tuple[ast.stmt, ...]]]:
    """Yield the blocks of a function with the loops around them; what stands in `try` is left out."""
    yield body, loops
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Try):
            continue
        around = (*loops, one) if isinstance(one, ast.For | ast.AsyncFor | ast.While) else loops
        for part in ("body", "orelse"):
            inner = getattr(one, part, None)
            if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                yield from _blocks(inner, around)


def _in_block(analysis: Analysis, names: Bindings, block: list[ast.stmt], loops: tuple[ast.stmt, ...]) -> Iterator[Hit]:
    for at, branch in enumerate(block):
        if not isinstance(branch, ast.If) or branch.orelse or isinstance(branch.body[-1], _LEAVES):
            continue
        if isinstance(branch.test, ast.Constant) or "isinstance" in unparsed(branch.test):
            continue
        if _has_been_used(branch.test, block[:at]):
            continue
        if loops and not _stays(branch.test, names, loops):
            continue
        inside = range(branch.body[0].lineno, (branch.body[-1].end_lineno or 0) + 1)
        bound = {name for one, name in names.plain_assignments() if one.lineno in inside}
        for name in sorted(bound - set(names.parameters) - names.declared - names.defined):
            if all(one.lineno in inside for one in names.stores[name]):
                use = _first_use(block[at + 1 :], name)
                if use is not None:
                    yield Hit(
                        place=analysis.source.place(use),
                        message=f"`{name}` is bound only if `{_short(branch.test)}`",
                        evidence=(Evidence("bound here", analysis.source.place(branch.test)),),
                        fix="Bind it before the `if`, or in an `else`.",
                    )


def _has_been_used(test: ast.expr, before: list[ast.stmt]) -> bool:
    """Say whether a condition asks if something is None of which the length, or an attribute, was taken before."""
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.IsNot) or len(test.ops) > 1:
        return False
    text = unparsed(test.left)
    for statement in before:
        inside = list(walk(statement)) if isinstance(statement, ast.Assign | ast.Expr) else []
        if any(isinstance(one, ast.Lambda | ast.IfExp | ast.BoolOp) for one in inside):
            continue
        for one in inside:
            if isinstance(one, ast.Attribute | ast.Subscript) and unparsed(one.value) == text:
                return True
            if isinstance(one, ast.Call) and unparsed(one) == f"len({text})":
                return True
    return False


def _stays(test: ast.expr, names: Bindings, loops: tuple[ast.stmt, ...]) -> bool:
    """Say whether a condition is the same in every turn: an earlier turn cannot have bound what this one does not."""
    changed = {
        getattr(one, "id", getattr(one, "attr", ""))
        for one in walk(names.function)
        if isinstance(one, ast.Name | ast.Attribute) and isinstance(one.ctx, ast.Store)
    }
    parts = list(walk(test))
    asked = {getattr(one, "id", getattr(one, "attr", "")) for one in parts} - {""}
    return bool(loops) and not asked & changed and not any(isinstance(one, ast.Call | ast.Subscript) for one in parts)


def _first_use(following: list[ast.stmt], name: str) -> ast.Name | None:
    """Return the first read that is always reached; None if a statement before it may leave or asks anything."""
    for statement in following:
        inside = list(walk(statement))
        mentioned = any(isinstance(one, ast.Name) and one.id == name for one in inside)
        if not isinstance(statement, _SIMPLE):
            if mentioned or isinstance(statement, ast.Try) or any(isinstance(one, _LEAVES) for one in inside):
                return None
        elif mentioned:
            asked = any(isinstance(one, ast.Lambda | ast.IfExp | ast.BoolOp) for one in inside)
            reads = [one for one in inside if isinstance(one, ast.Name) and one.id == name]
            return reads[0] if not asked and isinstance(reads[0].ctx, ast.Load) else None
        elif isinstance(statement, _LEAVES):
            return None
    return None


def _short(test: ast.expr) -> str:
    text = unparsed(test)
    return text if len(text) <= 50 else text[:47] + "..."
