"""A generator of parameters is used twice.

What it finds:
    `ps = model.parameters()`, after which `ps` goes into an optimizer and again into clipping, a loop or another call.

Why:
    `parameters()` is a generator. The second user gets nothing: nothing is clipped, frozen or counted.

How sure:
    Both uses take the same variable in the same function, without an assignment in between.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.queries import CLIPPERS, may_both_run
from trainworthy.check.static.values import Parameters

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
ps = model.parameters()
optimizer = torch.optim.SGD(ps, lr=0.1)
model(torch.rand(8, 4)).mean().backward()
torch.nn.utils.clip_grad_norm_(ps, 1.0)  # <- TW305
optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
ps = list(model.parameters())
optimizer = torch.optim.SGD(ps, lr=0.1)
model(torch.rand(8, 4)).mean().backward()
torch.nn.utils.clip_grad_norm_(ps, 1.0)
optimizer.step()
"""


@rule(code="TW305", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at generators that two calls take."""
    takers: dict[int, list[tuple[int, ast.AST, Context]]] = {}
    for call in analysis.all_calls:
        if _uses_up(call):
            value = call.args[0]
            assert isinstance(value, Parameters)
            takers.setdefault(id(value.call), []).append((call.at, call.node, call.context))
    for loop in analysis.iterations:
        if isinstance(loop.iterable, Parameters) and isinstance(loop.node.iter, ast.Name):
            takers.setdefault(id(loop.iterable.call), []).append((loop.at, loop.node.iter, loop.context))
    for uses in takers.values():
        _, first, before = min(uses, key=lambda one: one[0])
        for _, later, context in uses:
            same = context.callers == before.callers and may_both_run(before, context)
            if same and later is not first and _name(later) == _name(first):
                yield Hit(
                    place=analysis.place(later, context),
                    message="the generator of parameters was used up before, so this gets none",
                    evidence=(Evidence("used up here", analysis.place(first, before)),),
                    fix="Make it a list: `list(model.parameters())`.",
                )


def _name(node: ast.AST) -> str:
    """Return the name that is used up."""
    used = node.args[0] if isinstance(node, ast.Call) else node
    return used.id if isinstance(used, ast.Name) else ""


def _uses_up(call: Call) -> bool:
    if not call.args or not isinstance(call.args[0], Parameters) or not isinstance(call.node.args[0], ast.Name):
        return False
    is_optimizer = call.name.startswith("torch.optim.") and call.name.count(".") == 2
    return is_optimizer or call.name in CLIPPERS or call.name in ("builtins.list", "builtins.tuple", "builtins.sum")
