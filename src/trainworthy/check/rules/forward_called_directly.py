"""`forward` of a module is called instead of the module.

What it finds:
    `model.forward(x)` where `model` is a module from torch, a wrapper such as DDP, or one of yours.

Why:
    Hooks are left out: those of `fully_shard`, of weight norm, quantisation and profilers, and your own. What
    DataParallel, DistributedDataParallel and FullyShardedDataParallel do stands in their `forward`, and is done.

How sure:
    A hint: most modules have no hooks. `super().forward(x)` and a module's calls on itself are not reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Instance

BAD = """\
import torch
import torch.nn as nn

net = nn.Linear(4, 4)
y = net.forward(torch.rand(8, 4))  # <- TW804
"""

GOOD = """\
import torch
import torch.nn as nn

net = nn.Linear(4, 4)
y = net(torch.rand(8, 4))
"""


@rule(code="TW804", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls of forward."""
    for call in once_per_place(analysis.method_calls("forward")):
        func, owner = call.node.func, call.owner
        if not is_module(owner) or not isinstance(owner, Instance) or call.name.startswith("super."):
            continue
        if not isinstance(func, ast.Attribute) or getattr(func.value, "id", "") in ("self", "cls"):
            continue
        text = analysis.segment(func.value, call.context)
        place = analysis.place(func, call.context)
        yield Hit(
            place=place,
            message="hooks are left out",
            fix=f"Call the module: `{text}(...)`.",
            edits=(Edit(place, text),),
        )
