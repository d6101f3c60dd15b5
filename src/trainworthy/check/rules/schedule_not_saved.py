"""A checkpoint that a run resumes from lacks the learning-rate schedule.

What it finds:
    A program that saves and loads the optimizer's state and steps a scheduler of torch, whose state it neither saves
    nor restores in any other way.

Why:
    After a resume the schedule starts anew: warm-up runs again, decay comes late, and the loaded learning rate is
    decayed from where it was. The resumed run is another one.

How sure:
    The scheduler is made and stepped in the same file that loads the optimizer's state. Silent if the schedule is made
    with `last_epoch` or in a loop, stepped to where it was, or stepped with an argument, if any other code saves it by
    name, if the optimizer's state was only kept in memory, and if the schedule takes its count from the optimizer.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_scheduler
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place, receiver
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Function, Instance, Value

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30)  # <- TW651
saved = torch.load("last.pt")
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
for epoch in range(saved["epoch"], 90):
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    scheduler.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(state, "last.pt")
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30)
saved = torch.load("last.pt")
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["optimizer"])
scheduler.load_state_dict(saved["scheduler"])
for epoch in range(saved["epoch"], 90):
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    scheduler.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save({**state, "scheduler": scheduler.state_dict()}, "last.pt")
"""

_OTHER_WAYS = re.compile(
    r"last_epoch\s*=(?!\s*-\s*1)(?!=)|sched\w*['\"]?\]?\s*\.\s*(?:load_)?state_dict|['\"]\w*sched\w*['\"]\s*[:\]]|lr_sched\w*_state|"
    r"register_for_checkpointing"
)


@rule(code="TW651", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at programs that resume."""
    words = analysis.source.words
    if not {"load_state_dict", "state_dict", "step"} <= words or _OTHER_WAYS.search(analysis.source.code):
        return
    loads = [one for one in analysis.method_calls("load_state_dict")
             if _is_of_an_optimizer(analysis, one) and not _is_of_memory(one, analysis)]  # fmt: skip
    saves = [one for one in analysis.method_calls("state_dict") if _is_of_an_optimizer(analysis, one)]
    steps = [one for one in once_per_place(analysis.method_calls("step")) if is_scheduler(one.owner)]
    if not loads or not saves or not steps or _is_brought_forward(steps):
        return
    seen = set()
    for step in steps:
        made = step.owner.made_by if isinstance(step.owner, Instance) else None
        if _counts_by_the_optimizer(step.owner):
            continue
        if made is None or made.node in seen or made.context.loops or made.context.source is not analysis.source:
            continue
        seen.add(made.node)
        yield Hit(
            place=analysis.place(made.node, made.context),
            message="a resumed run starts its learning-rate schedule anew: the checkpoint does not hold it",
            evidence=(
                Evidence("the optimizer's state is restored here", analysis.place(loads[0].node, loads[0].context)),
            ),
            fix="Save `scheduler.state_dict()` beside the optimizer's, and load it.",
        )


def _counts_by_the_optimizer(scheduler: Value | None) -> bool:
    """Say whether a scheduler of the project takes its count from the optimizer, whose state has it."""
    cls = scheduler.cls if isinstance(scheduler, Instance) else None
    step = cls.lookup("step") if cls is not None else None
    text = unparsed(step.node) if isinstance(step, Function) else ""
    return "param_group" in text and "['step']" in text


def _is_of_an_optimizer(analysis: Analysis, call: Call) -> bool:
    return call.context.source is analysis.source and "opt" in receiver(call).lower().rpartition(".")[2]


def _is_of_memory(call: Call, analysis: Analysis) -> bool:
    """Say whether a state comes from the run itself: it was copied from an optimizer in this file."""
    given = unparsed(call.node.args[0]) if call.node.args else ""
    made = [one for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign)]
    values = [one.value for one in made if given in [unparsed(target) for target in one.targets]]
    return "state_dict()" in given or any("state_dict()" in unparsed(value) for value in values)


def _is_brought_forward(steps: list[Call]) -> bool:
    """Say whether schedules are stepped to where they were, or with the number of the epoch or a measure."""
    if any(step.node.args or step.node.keywords for step in steps):
        return True
    loops = {step.context.loops[-1] for step in steps if step.context.loops}
    return any(isinstance(loop, ast.For) and len(loop.body) == 1 for loop in loops)
