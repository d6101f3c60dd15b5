"""The scheduler steps before the optimizer.

What it finds:
    In the loop over batches: the step of a scheduler, then the step of its optimizer, and no other order. In the loop
    over epochs: the step of a scheduler, then what trains.

Why:
    The first value of the schedule is skipped, and torch warns once.

How sure:
    Both objects are torch's, or the only ones of such names, and stand in one body, or what trains is called there; a
    scheduler's step at the start of an epoch's loop is reported if the optimizer's first step comes later in the same
    turn. A condition on the scheduler's step may only ask which scheduler there is.

In real steps:
    The first step of a scheduler comes before any of an optimizer, and the program comes to it again, by the same way,
    after the optimizer's. Silent if the value that is skipped is 0, if the scheduler steps several times or is told the
    epoch, and after a `GradScaler` has scaled, which may have left out the optimizer's first step.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_scheduler
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import may_both_run, once_per_place, optimizer_steps, scaler_calls
from trainworthy.check.static.values import Instance

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    model(x).mean().backward()
    scheduler.step()  # <- TW311
    optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
    scheduler.step()
"""


@rule(code="TW311", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at steps of schedulers."""
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    for call in once_per_place(analysis.method_calls("step")):
        if not call.context.loops or call.node.args or call.node.keywords or call.starred:
            continue
        its = [(one, way) for one in steps if _is_of(call, one) and (way := _seen_from(call, one)) is not None]
        before = [one for one, way in its if way.at < call.at]
        after = [(one, way) for one, way in its if way.at > call.at and _in_same_turn(call, way)]
        if after and not before and _whenever(call, after[0][1]):
            step = after[0][0]
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the scheduler steps before the optimizer, which skips its first value",
                evidence=(Evidence("the optimizer steps here", analysis.place(step.node, step.context)),),
                fix="Step the scheduler after the optimizer.",
            )


def _whenever(call: Call, way: Call) -> bool:
    """Say whether a scheduler steps whenever the optimizer does, but for a choice that is made once for a run."""
    extra = set(call.context.branches) - set(way.context.branches)
    return may_both_run(call.context, way.context) and all(truth and _is_a_choice(test) for test, truth in extra)


def _is_a_choice(test: ast.expr) -> bool:
    """Say whether a condition asks which scheduler there is: compares with a text, or asks for the scheduler itself."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        right = test.comparators[0]
        text = isinstance(right, ast.Constant) and isinstance(right.value, str) and isinstance(test.ops[0], ast.Eq)
        there = isinstance(test.ops[0], ast.IsNot) and "sched" in last_name(test.left).lower()
        return text or there
    return "sched" in last_name(test).lower()


def _seen_from(call: Call, step: Call) -> Call | None:
    """Return what a function calls in which a scheduler steps, on the way to an optimizer's step, or that itself."""
    way = (*step.context.callers, step)[len(call.context.callers) :]
    same = step.context.callers[: len(call.context.callers)] == call.context.callers
    return way[0] if same and way and way[0].context.function is call.context.function else None


def _is_of(call: Call, step: Call) -> bool:
    """Say whether a call steps the scheduler of a stepping optimizer; unknown ones are told by their names."""
    owner = call.owner
    if is_scheduler(owner) and isinstance(owner, Instance) and owner.cls is None:
        optimizer = owner.made_by.argument(0, "optimizer") if owner.made_by is not None else None
        return optimizer is not None and optimizer in (step.owner, step.argument(0, "optimizer"))
    # Two of each would have to be told apart.
    name = last_name(getattr(call.node.func, "value", call.node.func)).lower()
    return (
        call.name.startswith("?.")
        and name in _NAMES
        and last_name(getattr(step.node.func, "value", step.node)) in _OPTIMIZERS
    )


_NAMES = frozenset({"scheduler", "lr_scheduler", "lr_sched", "sched"})
_OPTIMIZERS = frozenset({"optimizer", "optim", "opt"})


def _in_same_turn(outer: Call, inner: Call) -> bool:
    """Say whether ``inner`` runs in the loops of ``outer``, or deeper."""
    count = len(outer.context.loops)
    return inner.context.loops[:count] == outer.context.loops and inner.context.callers == outer.context.callers


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    for one in (schedule, optimizer):
        one.step()  # <- TW311
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    for one in (optimizer, schedule):
        one.step()
"""


@rule(code="TW311", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield schedulers that step before the optimizer, the first time included."""
    for fact in facts.stepped_early:
        yield Hit(
            place=fact.place,
            message=f"{fact.class_name} steps before the optimizer, which skips its first value",
            evidence=(Evidence("the optimizer steps here", fact.optimizer),),
            fix="Step the scheduler after the optimizer.",
        )
