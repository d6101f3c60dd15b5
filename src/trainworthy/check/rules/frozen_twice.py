"""Parameters are frozen a second time where they were to be released.

What it finds:
    Two loops over the parameters of one object that both set `requires_grad = False`, with training between them, and
    none that sets it to True.

Why:
    The second phase was to train them; it does not, and nothing says so.

How sure:
    Both loops go over the same expression in one body, the first has an effect on its own, and the second has none.
    Between them is a loop or a call that trains.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Store
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Const

BAD = """\
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
for parameter in model[0].parameters():
    parameter.requires_grad = False
for epoch in range(3):
    model(torch.rand(8, 4)).mean().backward()
for parameter in model[0].parameters():
    parameter.requires_grad = False  # <- TW340
for epoch in range(3):
    model(torch.rand(8, 4)).mean().backward()
"""

GOOD = """\
import torch

model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
for parameter in model[0].parameters():
    parameter.requires_grad = False
for epoch in range(3):
    model(torch.rand(8, 4)).mean().backward()
for parameter in model[0].parameters():
    parameter.requires_grad = True
for epoch in range(3):
    model(torch.rand(8, 4)).mean().backward()
"""


@rule(code="TW340", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops that freeze."""
    by_body: dict[tuple[object, str], list[Store]] = {}
    for store in analysis.stores:
        over = _parameters_of(store)
        if over and store.context.source is analysis.source:
            by_body.setdefault((body_of(store.context), over), []).append(store)
    for stores in by_body.values():
        each = list({one.node: one for one in stores}.values())
        values = [one.value.value if isinstance(one.value, Const) else None for one in each]
        if len(each) != 2 or values != [False, False] or "requires_grad_" in analysis.source.words:
            continue
        first, second = each
        if _trains_between(first, second):
            yield Hit(
                place=analysis.place(second.node, second.context),
                message="these parameters are frozen already; nothing releases them",
                evidence=(Evidence("they are frozen here", analysis.place(first.node, first.context)),),
                fix="Write `requires_grad = True` where they are to train.",
            )


def _parameters_of(store: Store) -> str:
    """Write what a loop goes over whose body is this assignment to ``parameter.requires_grad``."""
    loop = store.context.loops[-1] if store.context.loops else None
    target = store.target
    if not isinstance(loop, ast.For) or not isinstance(target, ast.Attribute) or target.attr != "requires_grad":
        return ""
    same = (
        isinstance(loop.target, ast.Name) and isinstance(target.value, ast.Name) and loop.target.id == target.value.id
    )
    return unparsed(loop.iter) if same and len(loop.body) == 1 and len(store.context.loops) == 1 else ""


def _trains_between(first: Store, second: Store) -> bool:
    return any(
        isinstance(node, ast.For | ast.While)
        and first.node.lineno < node.lineno
        and (node.end_lineno or 0) < second.node.lineno
        and any(isinstance(inner, ast.Call) for statement in node.body for inner in walk(statement))
        for node in walk(body_of(first.context))
        if node is not first.context.loops[-1]
    )
