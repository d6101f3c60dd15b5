"""A keyword goes into `**options` that nothing reads.

What it finds:
    `Block(width, dropuot=0.1)` or `Block(width, drop_rate=0.1)` where `Block` has a parameter `dropout` and takes
    `**options`, too, without ever reading them. Also `Decoder(dim=64, depth=2, dim_head=32)` of x-transformers, whose
    attention takes `attn_dim_head`.

Why:
    Nothing says that there is no such argument: the block is made with its default.

How sure:
    The function is found and its `**options` are mentioned nowhere in it. The keyword is all but the name of a
    parameter that the call leaves out: one letter differs, or one of the two has a prefix or suffix more.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, once_per_place
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

_LIKE = 0.85


@rule(code="TW824", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the keywords of calls."""
    if "torch" not in analysis.source.words:
        return
    yield from _without_prefix(analysis)
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


# What the attention and the feed-forward layers of x-transformers take, and its stacks of them only by prefix.
_BY_PREFIX = {
    **dict.fromkeys(
        "dim_head num_mem_kv flash qk_norm talking_heads one_kv_head kv_heads sparse_topk".split(), "attn_"
    ),
    **dict.fromkeys("glu swish relu_squared mult".split(), "ff_"),
}
_STACKS = ("Decoder", "Encoder", "AttentionLayers", "CrossAttender")


def _without_prefix(analysis: Analysis) -> Iterator[Hit]:
    """Yield what x-transformers takes by prefix only."""
    for call in once_per_place(analysis.calls(*(f"x_transformers.{one}" for one in _STACKS))):
        for keyword in call.node.keywords:
            prefix = _BY_PREFIX.get(keyword.arg or "", "")
            if prefix and call.context.source is analysis.source:
                yield Hit(
                    place=analysis.place(keyword, call.context),
                    message=f"`{keyword.arg}` is of the layers in it, which get what begins with `{prefix}`",
                    fix=f"Write `{prefix}{keyword.arg}`.",
                )


def _left_out(call: Call, known: list[str]) -> list[str]:
    """Return the parameters that a call gives nothing for."""
    given = {one.arg for one in call.node.keywords}
    shift = 1 if known[:1] in (["self"], ["cls"]) else 0
    return [one for one in known[len(call.node.args) + shift :] if one not in given]


def _is_like(name: str, parameter: str) -> bool:
    """Say whether one name is the other with a letter or a word more or less."""
    a, b = name.split("_"), parameter.split("_")
    short, long = sorted((a, b), key=len)
    if len(long) == len(short) + 1 and (long[1:] == short or long[:-1] == short):
        return True
    return (
        len(name) > 4
        and difflib.SequenceMatcher(None, name, parameter).ratio() >= _LIKE
        and _one_letter(name, parameter)
    )


def _one_letter(name: str, parameter: str) -> bool:
    """Say whether names differ within their letters, not by a number or a plural."""
    return name.rstrip("s0123456789") != parameter.rstrip("s0123456789")


def _is_read(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id in (name, "locals", "vars") for one in walk(node))
