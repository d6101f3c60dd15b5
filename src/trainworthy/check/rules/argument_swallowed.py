"""A misspelt argument disappears in `**kwargs`, and the one that was meant keeps its default.

What it finds:
    `Block(drop_out=0.1)`, `Block(num_head=4)` or `Block(momemtum=0.9)` where `Block` has a parameter `dropout`,
    `num_heads` or `momentum` and takes all others as `**kwargs`, which it never reads.

Why:
    Without `**kwargs` Python would refuse it. With it, the model is another one than the call says.

How sure:
    Certain for the function or class that is known here: it never reads its `**kwargs`, the call does not give the
    parameter of nearly that name, and no other parameter is as near.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.slips import is_slip
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Function

BAD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, dropout=0.0, **kwargs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(self, x):
        return self.body(x)


block = Block(8, drop_out=0.1)  # <- TW872
"""

GOOD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, dropout=0.0, **kwargs):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(self, x):
        return self.body(x)


block = Block(8, dropout=0.1)
"""


@rule(code="TW872", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of the project's functions that take any arguments."""
    if "torch" not in analysis.source.words:
        return
    for call in once_per_place(iter(analysis.all_calls)):
        if not call.node.keywords or call.context.source is not analysis.source:
            continue
        function = called_function(call)
        if function is None or not _swallows(function):
            continue
        names = _parameters(function)
        given = {one.arg for one in call.node.keywords} | set(names[: len(call.node.args)])
        for keyword in call.node.keywords:
            meant = [one for one in names if keyword.arg not in (None, *names) and _is_nearly(str(keyword.arg), one)]
            if len(meant) == 1 and meant[0] not in given:
                yield Hit(
                    place=analysis.place(keyword),
                    message=f"`{keyword.arg}` disappears in `**{_rest(function)}`; `{meant[0]}` keeps its default",
                    evidence=(Evidence("what is called", function.source.place(function.node.args)),),
                    fix=f"Write `{meant[0]}=`.",
                )


def _rest(function: Function) -> str:
    return function.node.args.kwarg.arg if function.node.args.kwarg is not None else ""


def _swallows(function: Function) -> bool:
    """Say whether a function takes arguments of any name and reads none of them."""
    rest = _rest(function)
    body = function.node.body if isinstance(function.node.body, list) else []
    if not rest or function.decorators or not body:
        return False
    names = {one.id for statement in body for one in walk(statement) if isinstance(one, ast.Name)}
    return not names & {rest, "locals", "vars"}


def _parameters(function: Function) -> list[str]:
    arguments = function.node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
    if function.owner is not None and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    return [*names, *[one.arg for one in arguments.kwonlyargs]]


def _is_nearly(given: str, name: str) -> bool:
    """Say whether one name is written for another: other underscores, a plural, a slip."""
    plain, other = given.replace("_", "").lower(), name.replace("_", "").lower()
    return len(plain) > 3 and (plain in {other, f"{other}s", other.removesuffix("s")} or is_slip(given, name))
