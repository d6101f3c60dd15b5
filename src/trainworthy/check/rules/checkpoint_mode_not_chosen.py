"""Activation checkpointing is not told which way to work.

What it finds:
    `torch.utils.checkpoint.checkpoint(...)` without `use_reentrant`.

Why:
    The default is the old way, which loses gradients of blocks whose inputs need none, and warns that the default
    will change.

How sure:
    Certain that the argument is missing. Silent under a condition that the input has `requires_grad`: nothing is lost
    there; and in the branch for versions of torch that do not know the argument.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch
from torch.utils.checkpoint import checkpoint

net = torch.nn.Linear(4, 4)
y = checkpoint(net, torch.rand(8, 4))  # <- TW705
"""

GOOD = """\
import torch
from torch.utils.checkpoint import checkpoint

net = torch.nn.Linear(4, 4)
y = checkpoint(net, torch.rand(8, 4), use_reentrant=False)
"""


@rule(code="TW705", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    names = ("torch.utils.checkpoint.checkpoint", "torch.utils.checkpoint.checkpoint_sequential")
    for call in once_per_place(analysis.calls(*names)):
        if "use_reentrant" in call.keywords or any(one.arg is None for one in call.node.keywords):
            continue
        if _input_has_a_gradient(call) or _is_for_an_old_version(call):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="`use_reentrant` is not given; its default loses gradients of blocks whose inputs need none",
            fix="Pass `use_reentrant=False`.",
        )


def _input_has_a_gradient(call: Call) -> bool:
    """Say whether a condition asks for the gradient of what is handed on."""
    given = {unparsed(one) for one in call.node.args[1:]}
    asked = [one for test, holds in call.context.branches if holds for one in walk(test)]
    return any(isinstance(one, ast.Attribute) and one.attr == "requires_grad" and unparsed(one.value) in given
               for one in asked)  # fmt: skip


def _is_for_an_old_version(call: Call) -> bool:
    """Say whether it stands where a question about a version is answered with no."""
    return any(not holds and "version" in unparsed(test).lower() for test, holds in call.context.branches)
