"""A scaled loss is divided by a scale from after the update.

What it finds:
    `loss = scaler.scale(loss)`, then `scaler.update()` (also in a method that is called), then
    `loss.item() / scaler.get_scale()`.

Why:
    `update()` doubles the scale every 2,000 steps and halves it after an overflow: the loss that is logged there is
    half or twice what it was.

How sure:
    The scaler, the update between and the division are seen in one turn.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, once_per_place, scaler_calls
from trainworthy.check.static.tree import walk

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for _ in range(10):
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = model(torch.rand(8, 4)).mean()
    loss = scaler.scale(loss)
    loss.backward()
    scaler.step(optimizer)
    scaler.update()
    print(loss.item() / scaler.get_scale())  # <- TW216
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for _ in range(10):
    optimizer.zero_grad()
    with torch.autocast("cuda"):
        loss = model(torch.rand(8, 4)).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    print(loss.item())
"""


@rule(code="TW216", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the places that ask for the scale."""
    if "get_scale" not in analysis.source.words:
        return
    updates = list(scaler_calls(analysis, "update"))
    scales = list(scaler_calls(analysis, "scale"))
    for asked in once_per_place(scaler_calls(analysis, "get_scale")):
        if asked.context.source is not analysis.source:
            continue
        body = body_of(asked.context)
        update = next((one for one in (_seen_from(each, body) for each in updates) if _stands_before(one, asked)), None)
        scaled = {name for one in scales if body_of(one.context) is body for name in _bound_to(analysis, one.node)}
        division = _division(analysis, body, asked.node, scaled) if update is not None else None
        if division is not None and update is not None:
            yield Hit(
                place=analysis.place(division),
                message="the loss was scaled before `update()`, and is divided by the scale from after it",
                evidence=(Evidence("the scale may change here", analysis.place(update)),),
                fix="Keep the loss as it was before `scale`, and log that.",
            )


def _seen_from(call: Call, body: ast.AST) -> ast.Call | None:
    """Return the call in a body that is, or leads to, another call."""
    if body_of(call.context) is body:
        return call.node
    return next((one.node for one in call.context.callers if body_of(one.context) is body), None)


def _stands_before(node: ast.Call | None, asked: Call) -> bool:
    return node is not None and node.lineno < asked.node.lineno


def _bound_to(analysis: Analysis, node: ast.AST) -> set[str]:
    """Return the names that a scaled loss is kept under."""
    while node in analysis.parents and not isinstance(node, ast.stmt):
        node = analysis.parents[node]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {one.id for one in targets if isinstance(one, ast.Name)}


def _division(analysis: Analysis, body: ast.AST, asked: ast.Call, scaled: set[str]) -> ast.BinOp | None:
    """Return where a scaled loss is divided by what was asked for."""
    names = _bound_to(analysis, asked)
    for one in walk(body):
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and one.lineno >= asked.lineno:
            by = asked in walk(one.right) or getattr(one.right, "id", "") in names
            if by and any(isinstance(part, ast.Name) and part.id in scaled for part in walk(one.left)):
                return one
    return None
