"""`forward` of a module is called instead of the module.

What it finds:
    `model.forward(x)` where `model` is a module from torch, a wrapper such as DDP, or one of yours; also
    `step = model.forward` where `step(x)` is called later, and `map(model.forward, ...)`.

Why:
    Hooks are left out: those of `fully_shard`, of weight norm, quantisation and profilers, and your own. What
    DataParallel, DistributedDataParallel and FullyShardedDataParallel do stands in their `forward`, and is done.

How sure:
    A hint: most modules have no hooks. `super().forward(x)` and a module's calls on itself are not reported,
    nor a name for `forward` in a file that puts another method in its place.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed
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
    yield from _by_another_name(analysis)
    for call in once_per_place(analysis.method_calls("forward")):
        func, owner = call.node.func, call.owner
        if not is_module(owner) or not isinstance(owner, Instance) or call.name.startswith("super."):
            continue
        if not isinstance(func, ast.Attribute) or func.attr != "forward" or last_name(func.value) in ("self", "cls"):
            continue
        text = analysis.segment(func.value, call.context)
        place = analysis.place(func, call.context)
        yield Hit(
            place=place,
            message="hooks are left out",
            fix=f"Call the module: `{text}(...)`.",
            edits=(Edit(place, text),),
        )


def _by_another_name(analysis: Analysis) -> Iterator[Hit]:
    """Yield methods `forward` that are given a name, and called by it; who puts another in its place has to."""
    if "forward" not in analysis.source.words or any(_replaces_forward(one.target) for one in analysis.stores):
        return
    called = {unparsed(one.func) for one in analysis.nodes.get(ast.Call, ()) if isinstance(one, ast.Call)}
    seen: set[ast.AST] = set()
    for load in analysis.loads:
        node, owner = load.node, load.owner
        if node.attr != "forward" or node in seen or load.context.source is not analysis.source:
            continue
        if not is_module(owner) or not isinstance(owner, Instance) or last_name(node.value) in ("self", "cls"):
            continue
        parent = analysis.parents.get(node)
        targets = parent.targets if isinstance(parent, ast.Assign) and parent.value is node else []
        mapped = isinstance(parent, ast.Call) and getattr(parent.func, "id", "") == "map" and parent.args[0] is node
        if mapped or any(unparsed(one) in called for one in targets):
            seen.add(node)
            text, place = analysis.segment(node.value), analysis.place(node)
            yield Hit(
                place=place,
                message="hooks are left out",
                fix=f"Call the module: `{text}(...)`.",
                edits=(Edit(place, text),),
            )


def _replaces_forward(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute) and target.attr == "forward"
