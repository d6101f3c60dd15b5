"""A loss is called with one argument.

What it finds:
    `criterion(net(x, y))` where `criterion` is one of torch's losses that compare two tensors, or the project's own
    loss whose target has a default.

Why:
    A parenthesis stands too late: the target goes into the model, and the loss misses one. A loss and a model with
    optional arguments take it without a word.

How sure:
    Certain for torch's losses: the call raises TypeError. One's own are reported as a warning, if what was handed to
    the model is called like a target, and the same model is called without it elsewhere in the file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_loss_module
from trainworthy.check.static.queries import called_function, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.values import Function

BAD = """\
import torch.nn as nn

net = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()


def step(x, y):
    return criterion(net(x, y))  # <- TW207
"""

GOOD = """\
import torch.nn as nn

net = nn.Linear(4, 2)
criterion = nn.CrossEntropyLoss()


def step(x, y):
    return criterion(net(x), y)
"""


_FUNCTIONS = ("cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy",
              "binary_cross_entropy_with_logits", "kl_div", "huber_loss")  # fmt: skip
_TARGET = re.compile(
    r"^(?:[a-z]+_)*(?:y|yb|y_?true|tgt|targets?|labels?|lbls?|gt|truth|ref|reference|clean|expected|answers?)(?:_[a-z]+)*$"
)


@rule(code="TW207", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of torch's losses, then at calls of the project's own."""
    functions = analysis.calls(*(f"torch.nn.functional.{name}" for name in _FUNCTIONS))
    modules = (call for call in analysis.method_calls("__call__") if is_loss_module(call.owner))
    for call in once_per_place(chain(modules, functions)):
        if call.starred or len(call.args) != 1 or call.keywords:
            continue
        inner = call.node.args[0] if call.node.args else None
        if isinstance(inner, ast.Call):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the loss gets one argument; its target went into the call inside",
                fix="Close the inner parenthesis earlier: `criterion(net(x), y)`.",
            )
    yield from _own_losses(analysis)


def _own_losses(analysis: Analysis) -> Iterator[Hit]:
    for call in once_per_place(iter(analysis.all_calls)):
        function = called_function(call)
        inner = call.node.args[0] if len(call.node.args) == 1 and not call.node.keywords else None
        if function is None or not isinstance(inner, ast.Call) or len(inner.args) < 2 or inner.keywords:
            continue
        given = inner.args[-1]
        if _TARGET.match(last_name(given)) and _takes_target(function) and _is_called_without(analysis, inner):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{unparsed(call.node.func)}` gets one argument, and `{unparsed(given)}` went into the call "
                "inside, which other lines make without one",
                fix=f"Close the inner parenthesis earlier: `{_closed_earlier(call.node, inner)}`.",
                severity="warning",
            )


def _takes_target(function: Function) -> bool:
    """Say whether the second argument of a function, or a method, is called like a target and has a default."""
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = positional[len(positional) - len(arguments.defaults) :]
    at = 2 if positional and positional[0].arg in ("self", "cls") else 1
    return len(positional) > at and positional[at] in optional and _TARGET.match(positional[at].arg) is not None


def _is_called_without(analysis: Analysis, inner: ast.Call) -> bool:
    name = unparsed(inner.func)
    return any(
        unparsed(other.func) == name and len(other.args) < len(inner.args) and not other.keywords
        for other in nodes_of(analysis.source.tree, ast.Call)
    )


def _closed_earlier(outer: ast.Call, inner: ast.Call) -> str:
    kept = ", ".join(map(unparsed, inner.args[:-1]))
    return f"{unparsed(outer.func)}({unparsed(inner.func)}({kept}), {unparsed(inner.args[-1])})"
