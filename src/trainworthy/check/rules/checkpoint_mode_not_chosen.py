"""Activation checkpointing is not told which way to work.

What it finds:
    `torch.utils.checkpoint.checkpoint(...)` without `use_reentrant`.

Why:
    The default is the old way, which loses gradients of blocks whose inputs need none, and warns that the default
    will change.

How sure:
    Certain that the argument is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

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
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="`use_reentrant` is not given; its default loses gradients of blocks whose inputs need none",
            fix="Pass `use_reentrant=False`.",
        )
