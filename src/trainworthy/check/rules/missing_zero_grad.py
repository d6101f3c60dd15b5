"""Gradients are never set to zero.

What it finds:
    A loop with `backward()` and the step of an optimizer, also one that a gradient scaler takes, in a program that
    never clears gradients; both may stand in what the loop calls. Or one that clears them once, before the loop, and
    never within it. And updates that are written out,
    `for p in model.parameters(): p.data.add_(-lr * p.grad)`, after a `backward()` in a loop or in a function named for
    a step.

Why:
    `backward` adds to what is there: every step uses the sum of all gradients so far.

How sure:
    The optimizer is torch's, both calls belong to the same turn of a loop, and neither `zero_grad` nor an assignment to
    `.grad` occurs in the file or in what it imports of the project; or the optimizer is made in the same function or
    file, is handed to nothing, and neither occurs in that function or file, or in what it calls; or it is an attribute
    of a class that never speaks of clearing, nor do its bases. What is cleared before
    a loop is reported if the same optimizer steps in it after a `backward()`, and nothing there clears gradients, gets
    the optimizer or makes it anew. Updates written out
    are reported if nothing clears gradients in the file or in what it imports of the project, but in a method of the
    same name, which this one overrides.

In real steps:
    For three steps in a row, nine tenths of an optimizer's gradients are the same tensors that the step before used,
    not cleared, with the new gradient added.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule
from trainworthy.check.static import by_hand
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.cleared_once import cleared_before_loop, never_cleared_in_its_loop
from trainworthy.check.static.clearing import (
    CLEARING,
    never_cleared_by_this_class,
    never_cleared_by_this_file,
    never_cleared_here,
)
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import (
    feeds,
    once_per_place,
    optimizer_steps,
    same_turn,
    scaler_calls,
    stepped_by,
)
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Instance

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    loss = model(x).mean()
    loss.backward()
    optimizer.step()  # <- TW301
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.rand(10, 8, 4):
    optimizer.zero_grad()
    loss = model(x).mean()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW301", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at steps that follow a backward in a loop, and at updates that are written out."""
    for update, backward in by_hand.never_cleared(analysis):
        yield Hit(
            place=analysis.place(update),
            message="gradients are never set to zero, so each step uses the sum of all so far",
            evidence=(Evidence("they are added to here", analysis.place(backward)),),
            fix="Set `p.grad = None` after the update, or call `model.zero_grad()` before `backward()`.",
        )
    for once, clear, backward in cleared_before_loop(analysis):
        yield Hit(
            place=analysis.place(clear),
            message="gradients are set to zero once, before the loop, so each step in it uses the sum of all so far",
            evidence=(
                Evidence("they are added to here", analysis.place(backward)),
                Evidence("and used here", analysis.place(once)),
            ),
            fix="Call `zero_grad()` within the loop, before `backward()`.",
        )
    somewhere = analysis.mentions(*CLEARING) or _assigns_grad(analysis)
    backwards = list(analysis.method_calls("backward"))
    for step in once_per_place(_steps(analysis)):
        near = [one for one in backwards if one.at < step.at and feeds(one, step)]
        if near and _is_never_cleared(analysis, step, near[-1], somewhere) and not _is_of_a_new_model(analysis, step):
            yield Hit(
                place=analysis.place(step.node, step.context),
                message="gradients are never set to zero, so each step uses the sum of all so far",
                evidence=(Evidence("they are added to here", analysis.place(near[-1].node, near[-1].context)),),
                fix="Call `optimizer.zero_grad()` once a step.",
            )


def _is_cleared_before_only(analysis: Analysis, step: Call) -> bool:
    """Say whether all that clears gradients stands outside of loops, in callers of the function whose loop steps."""
    if any(one is not analysis.source and not one.words.isdisjoint(CLEARING) for one in analysis.sources):
        return False
    written = [one for one in analysis.nodes.get(ast.Attribute, []) if getattr(one, "attr", "") == "zero_grad"]
    clears = list(analysis.method_calls("zero_grad"))
    if not analysis.finished or {one.node.func for one in clears} != set(written) or _assigns_grad(analysis):
        return False
    way = [one.context for one in step.context.callers]
    return bool(clears) and all(
        not clear.context.in_loop
        and clear.at < step.at
        and any(one.function is clear.context.function and one.callers == clear.context.callers for one in way)
        for clear in clears
    )


def _is_never_cleared(analysis: Analysis, step: Call, backward: Call, somewhere: bool) -> bool:
    optimizer, written = stepped_by(step)
    return (
        not somewhere
        or never_cleared_here(analysis, step, optimizer)
        or never_cleared_by_this_file(analysis, optimizer, backward)
        or never_cleared_by_this_class(analysis, step, backward, written)
        or _is_cleared_before_only(analysis, step)
        or never_cleared_in_its_loop(analysis, step, written)
    )


def _steps(analysis: Analysis) -> Iterator[Call]:
    """Yield steps in loops: of optimizers without a closure, and of scalers."""
    plain = (one for one in optimizer_steps(analysis) if not one.node.args and not one.node.keywords)
    return (one for one in (*plain, *scaler_calls(analysis, "step")) if one.context.in_loop)


def _is_of_a_new_model(analysis: Analysis, step: Call) -> bool:
    """Say whether each turn makes a model and an optimizer of its own, whose gradients are new."""
    optimizer, _ = stepped_by(step)
    made = optimizer.made_by if isinstance(optimizer, Instance) else None
    if made is None or not same_turn(made.context, step.context):
        return False
    if not any(getattr(one, "attr", "") == "parameters" for one in walk(made.node)):
        return True  # of tensors of this turn
    models = (one for one in analysis.all_calls if isinstance(one.result, Instance) and one.result.made_by is one)
    return any(is_module(one.result) and one.at < made.at and same_turn(one.context, step.context) for one in models)


def _assigns_grad(analysis: Analysis) -> bool:
    return any(getattr(one.target, "attr", "") == "grad" for one in analysis.stores)


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(6):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()  # <- TW301
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(6):
    optimizer.zero_grad(set_to_none=step % 2 == 0)
    for micro in range(3):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        (nn.functional.cross_entropy(model(x), y) / 3).backward()
    optimizer.step()
"""


@rule(code="TW301", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that do so in three steps."""
    for steps in facts.steps_by_optimizer():
        run = longest_run(steps, lambda s: s.stale > 0 and s.stale >= 0.9 * (s.trainable - s.num_without_gradient))
        if len(run) >= 3:
            yield Hit(
                place=run[0].place,
                message=f"{run[0].optimizer_class} steps with gradients that the step before had used already, "
                "and that "
                "nobody cleared",
                evidence=(Evidence(f"{run[0].stale} of {run[0].trainable} parameters, {len(run)} steps in a row"),),
                fix="optimizer.zero_grad() before each new backward pass.",
            )
