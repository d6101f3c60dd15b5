"""A keyword goes into `**options` that nothing reads.

What it finds:
    `Block(width, dropuot=0.1)` or `Block(width, drop_rate=0.1)` where `Block` has a parameter `dropout` and takes
    `**options`, too, without ever reading them.

Why:
    Nothing says that there is no such argument: the block is made with its default.

How sure:
    The function is found and its `**options` are mentioned nowhere in it. The keyword is all but the name of a
    parameter that the call leaves out: one letter differs, or one of the two has a prefix or suffix more.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.slips import is_slip
from trainworthy.check.static.tree import walk

BAD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, attn_dropout=0.0, **options):
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.drop = nn.Dropout(attn_dropout)

    def forward(self, x):
        return self.drop(self.layer(x))


block = Block(8, dropout=0.1)  # <- TW824
"""

GOOD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, attn_dropout=0.0, **options):
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.drop = nn.Dropout(attn_dropout)

    def forward(self, x):
        return self.drop(self.layer(x))


block = Block(8, attn_dropout=0.1)
"""


@rule(code="TW824", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the keywords of calls."""
    if "torch" not in analysis.source.words:
        return
    for call in once_per_place(one for one in analysis.all_calls if one.node.keywords):
        function = called_function(call)
        if function is None or function.decorators or function.node.args.kwarg is None:
            continue
        if call.context.source is not analysis.source or call.starred:
            continue
        arguments = function.node.args
        known = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        rest = arguments.kwarg.arg if arguments.kwarg is not None else ""
        for keyword in call.node.keywords:
            if keyword.arg is None or keyword.arg in known or _is_read(function.node, rest):
                continue
            meant = next((one for one in _left_out(call, known) if _is_like(keyword.arg, one)), None)
            if meant is not None:
                where = function.source.place(function.node)
                yield Hit(
                    place=analysis.place(keyword, call.context),
                    message=f"`{keyword.arg}` goes into `**{rest}`, which nothing reads",
                    evidence=(Evidence("the function", where._replace(end_line=where.line, end_column=None)),),
                    fix=f"Is `{meant}` meant?",
                )


def _left_out(call: Call, known: list[str]) -> list[str]:
    """Return the parameters that a call gives nothing for."""
    given = {one.arg for one in call.node.keywords}
    shift = 1 if known[:1] in (["self"], ["cls"]) else 0
    return [one for one in known[len(call.node.args) + shift :] if one not in given]


def _is_like(name: str, parameter: str) -> bool:
    """Say whether one name is the other with a word more or less, or with a slip in it."""
    a, b = name.split("_"), parameter.split("_")
    short, long = sorted((a, b), key=len)
    if len(long) == len(short) + 1 and (long[1:] == short or long[:-1] == short):
        return True
    return is_slip(name, parameter)


def _is_read(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id in (name, "locals", "vars") for one in walk(node))
