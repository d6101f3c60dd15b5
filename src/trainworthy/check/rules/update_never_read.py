"""A value is changed after its last use, or a group is filled and never handed on.

What it finds:
    In a function or script, `mask &= ...` or `mask = mask.masked_fill(...)` where nothing reads the name afterwards,
    although it was handed to a call before; and a dict or list that is only filled, never read.

Why:
    The change comes too late: what should have seen it ran before. A group of parameters that is built and not handed
    to the optimizer is not trained.

How sure:
    Every later mention is looked for, also of the next turn of a loop, of inner functions and by `locals()`. Names of
    counters and sums, and what may be seen through another name, are left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import children, unparsed, walk

BAD = """\
import torch


def forward(model, tokens, mask, drop):
    mask = torch.nn.functional.pad(mask, (1, 0), value=True)
    logits = model(tokens, mask)
    mask = mask & (torch.rand(mask.shape) > drop)  # <- TW843
    return logits
"""

GOOD = """\
import torch


def forward(model, tokens, mask, drop):
    mask = torch.nn.functional.pad(mask, (1, 0), value=True)
    mask = mask & (torch.rand(mask.shape) > drop)
    logits = model(tokens, mask)
    return logits
"""

_Body = ast.FunctionDef | ast.AsyncFunctionDef
_LOOPS = ast.For | ast.AsyncFor | ast.While
_WATCHED = re.compile(r"mask|label|target|logit|^loss$|^weights?$|^scores?$|^inputs?$|^outputs?$|^lr$|^noise$")
_FILLS = frozenset({"append", "extend", "add", "update", "insert", "setdefault"})


@rule(code="TW843", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the functions of a file."""
    if "torch" not in analysis.source.words:
        return
    lines = [one.lineno for one in _candidates(analysis)]
    for node in analysis.nodes.get(ast.FunctionDef, []) + analysis.nodes.get(ast.AsyncFunctionDef, []):
        if not isinstance(node, _Body) or not any(node.lineno < line <= (node.end_lineno or 0) for line in lines):
            continue
        if not _may_be_seen_elsewhere(node):
            names = _Names(node)
            yield from _too_late(analysis, names)
            yield from _only_filled(analysis, names)


def _candidates(analysis: Analysis) -> Iterator[ast.Assign | ast.AugAssign]:
    """Yield the statements that may be one of the two."""
    for statement in (*analysis.nodes.get(ast.AugAssign, []), *analysis.nodes.get(ast.Assign, [])):
        if isinstance(statement, ast.Assign | ast.AugAssign):
            target = statement.target if isinstance(statement, ast.AugAssign) else statement.targets[0]
            if isinstance(target, ast.Name):
                filled = isinstance(statement.value, ast.Dict | ast.List) and "param" in target.id.lower()
                if filled or (_WATCHED.search(target.id.lower()) and _changes(statement, target.id)):
                    yield statement


class _Names:
    """Where a function mentions its names, in the order of the text."""

    def __init__(self, function: _Body) -> None:
        self.function = function
        self.parents = {child: node for node in walk(function) for child in children(node)}
        self.mentions: dict[str, list[ast.Name]] = {}
        for node in walk(function):
            if isinstance(node, ast.Name):
                self.mentions.setdefault(node.id, []).append(node)
        self.statements = [node for node in walk(function) if isinstance(node, ast.Assign | ast.AugAssign)]

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, inside out."""
        while node in self.parents and node is not self.function:
            node = self.parents[node]
            yield node

    def later(self, name: str, statement: ast.stmt) -> list[ast.Name]:
        """Return the mentions that may come after a statement, those of a loop's next turn included."""
        loops = [one for one in self.around(statement) if isinstance(one, _LOOPS)]
        start = loops[-1].lineno if loops else statement.end_lineno or statement.lineno
        own = set(walk(statement))
        inner = {one for node in walk(self.function) if node is not self.function
                 and isinstance(node, (*_Body.__args__, ast.Lambda)) for one in walk(node)}  # fmt: skip
        return [one for one in self.mentions.get(name, []) if one not in own and (one.lineno > start or one in inner
                or (loops and one.lineno >= start))]  # fmt: skip


def _may_be_seen_elsewhere(function: _Body) -> bool:
    return any(
        isinstance(node, ast.Global | ast.Nonlocal | ast.Yield | ast.YieldFrom)
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("locals", "vars", "exec", "eval")
        )
        for node in walk(function)
    )


def _too_late(analysis: Analysis, names: _Names) -> Iterator[Hit]:
    """Yield changes of a value that was handed to a call before, and that nothing reads."""
    for statement in names.statements:
        target = statement.target if isinstance(statement, ast.AugAssign) else statement.targets[0]
        if (
            not isinstance(target, ast.Name)
            or not _WATCHED.search(target.id.lower())
            or not _changes(statement, target.id)
        ):
            continue
        in_place = isinstance(statement, ast.AugAssign) and not isinstance(statement.value, ast.Constant)
        if in_place and not _is_own(names, target.id):
            continue
        before = [
            one for one in names.mentions[target.id] if one.lineno < statement.lineno and _is_handed_on(names, one)
        ]
        if before and not names.later(target.id, statement):
            yield Hit(
                place=analysis.source.place(statement),
                message=f"`{target.id}` is changed after its last use",
                evidence=(Evidence("it was used here", analysis.source.place(before[-1])),),
                fix="Change it before it is used.",
            )


def _changes(statement: ast.Assign | ast.AugAssign, name: str) -> bool:
    """Say whether a statement makes a value out of its own old one."""
    if isinstance(statement, ast.AugAssign):
        return not isinstance(statement.value, ast.Constant)
    if isinstance(statement.value, ast.Name) or len(statement.targets) != 1:
        return False
    return any(isinstance(one, ast.Name) and one.id == name for one in walk(statement.value))


def _is_own(names: _Names, name: str) -> bool:
    """Say whether a name is bound in the function to what a call or operator makes: nobody else has it."""
    bound = [
        one.value
        for one in names.statements
        if isinstance(one, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in one.targets)
    ]
    return bool(bound) and all(isinstance(one, ast.Call | ast.BinOp | ast.UnaryOp | ast.Compare) for one in bound)


def _is_handed_on(names: _Names, node: ast.Name) -> bool:
    parent = names.parents.get(node)
    return isinstance(node.ctx, ast.Load) and (
        isinstance(parent, ast.keyword) or (isinstance(parent, ast.Call) and node in parent.args)
    )


def _only_filled(analysis: Analysis, names: _Names) -> Iterator[Hit]:
    """Yield groups of parameters that are made, filled and then not read before the function ends."""
    for statement in names.statements:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        if not isinstance(target, ast.Name) or not isinstance(statement.value, ast.Dict | ast.List):
            continue
        if "param" not in target.id.lower():
            continue
        later = names.later(target.id, statement)
        fills = [one for one in later if _is_filled(names, one)]
        if fills and len(fills) == len(later) and "parameters()" in unparsed(names.function):
            yield Hit(
                place=analysis.source.place(statement),
                message=f"`{target.id}` is filled and never used",
                evidence=(Evidence("it is filled here", analysis.source.place(fills[-1])),),
                fix="Hand it on, or remove it.",
            )


def _is_filled(names: _Names, node: ast.Name) -> bool:
    """Say whether something is put into what a name stands for, or into a part of it."""
    at: ast.AST = node
    parent = names.parents.get(at)
    while isinstance(parent, ast.Subscript) and parent.value is at:
        if isinstance(parent.ctx, ast.Store):
            return True
        at, parent = parent, names.parents.get(parent)
    call = names.parents.get(parent) if isinstance(parent, ast.Attribute) and parent.attr in _FILLS else None
    return isinstance(call, ast.Call) and call.func is parent and isinstance(names.parents.get(call), ast.Expr)
