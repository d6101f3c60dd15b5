"""The scheduler steps before the optimizer.

What it finds:
    In the loop over batches: the step of a scheduler, then the step of its optimizer, and no other order.

Why:
    The first value of the schedule is skipped, and torch warns once.

How sure:
    Both objects are torch's, or the only ones of such names, and stand in one body; a scheduler's step at the start
    of an epoch's loop is reported if the optimizer's first step comes later in the same turn.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_scheduler
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import always_with, once_per_place, optimizer_steps
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
    steps = list(optimizer_steps(analysis))
    for call in once_per_place(analysis.method_calls("step")):
        if not call.context.loops or call.node.args or call.node.keywords or call.starred:
            continue
        its = [one for one in steps if _is_of(call, one) and one.context.function is call.context.function]
        before = [one for one in its if one.at < call.at]
        after = [one for one in its if one.at > call.at and _in_same_turn(call, one)]
        if after and not before and always_with(call.context, after[0].context):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the scheduler steps before the optimizer, which skips its first value",
                evidence=(Evidence("the optimizer steps here", analysis.place(after[0].node, after[0].context)),),
                fix="Step the scheduler after the optimizer.",
            )


def _is_of(call: Call, step: Call) -> bool:
    """Say whether a call steps the scheduler of a stepping optimizer; unknown ones are told by their names."""
    owner = call.owner
    if is_scheduler(owner) and isinstance(owner, Instance) and owner.cls is None:
        optimizer = owner.made_by.argument(0, "optimizer") if owner.made_by is not None else None
        return optimizer is not None and optimizer is step.owner
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
