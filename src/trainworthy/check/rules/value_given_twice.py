"""One value is given for two parameters, and belongs to the first alone.

What it finds:
    `schedule(optimizer, warmup, total_updates, total_updates)` where the function is
    `def schedule(optimizer, warmup, total_steps, shift=0)`.

Why:
    An optional parameter that was best left alone gets another's value: the schedule begins at its end, an offset is as
    long as the data.

How sure:
    The function is the project's and known, the second parameter has a number as its default, and the value's name has
    a word in common, of more than one letter, with the first parameter and none with the second. Silent about numbers
    of groups, which a depthwise convolution has as many of as channels, and where a value is given three times.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Function

BAD = """\
import torch


def schedule(optimizer, warmup_steps, total_steps, shift=0):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 1 - (at + shift) / total_steps)


def prepared(optimizer, warmup_steps, total_updates):
    return schedule(optimizer, warmup_steps, total_updates, total_updates)  # <- TW837
"""

GOOD = """\
import torch


def schedule(optimizer, warmup_steps, total_steps, shift=0):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 1 - (at + shift) / total_steps)


def prepared(optimizer, warmup_steps, total_updates):
    return schedule(optimizer, warmup_steps, total_updates)
"""

_GROUPS = frozenset({"g", "group", "groups", "num_groups", "n_groups"})
_WORD = re.compile(r"[a-z]+|[A-Z][a-z]*|\d+")


@rule(code="TW837", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of the project's functions that give one name twice."""
    for call in once_per_place(iter(analysis.all_calls)):
        args = call.node.args
        if len(args) < 2 or call.context.source is not analysis.source:
            continue
        function = called_function(call)
        twice = _twice(call, function) if function is not None else None
        if function is not None and twice is not None:
            value, first, second = twice
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{value}` is given for `{first}` and for `{second}` of `{function.name}`",
                evidence=(Evidence("it is defined here", function.source.place(function.node.args)),),
                fix=f"Leave `{second}` out, or give it its own value.",
            )


def _twice(call: Call, function: Function) -> tuple[str, str, str] | None:
    arguments = function.node.args
    params = [*arguments.posonlyargs, *arguments.args]
    defaults: dict[str, ast.expr] = {
        one.arg: value for one, value in zip(reversed(params), reversed(arguments.defaults), strict=False)
    }
    if function.owner is not None and params and params[0].arg in ("self", "cls"):
        params = params[1:]
    given = call.node.args[: len(params)]
    for at, one in enumerate(given):
        text = unparsed(one) if isinstance(one, ast.Name | ast.Attribute) else ""
        if sum(unparsed(each) == text for each in given) > 2:
            continue
        for other, two in enumerate(given[at + 1 :], start=at + 1):
            second = params[other].arg
            if text and second not in _GROUPS and unparsed(two) == text and _is_offset(defaults.get(second)):
                said = _words(text.rpartition(".")[2])
                if said & _words(params[at].arg) and not said & _words(second):
                    return text, params[at].arg, second
    return None


def _is_offset(default: ast.expr | None) -> bool:
    """Say whether a default is a number that changes nothing."""
    if isinstance(default, ast.UnaryOp):
        default = default.operand
    return isinstance(default, ast.Constant) and type(default.value) in (int, float)


def _words(name: str) -> set[str]:
    return {one.lower().rstrip("s") for one in _WORD.findall(name) if len(one) > 1 or one.isdigit()}
