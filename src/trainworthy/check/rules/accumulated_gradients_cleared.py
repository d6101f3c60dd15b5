"""Gradients are cleared before every micro-batch although the step comes after several.

What it finds:
    `zero_grad()` before each `backward()`, while `step()` runs only every few batches (`if step % k == 0`, a name
    made by such a test, `if should_step`).

Why:
    What the other micro-batches added is gone: the update uses the last one only, divided by their number.

How sure:
    All three stand in one function, clear and backward in the same turn, and the step alone is under a condition
    about a count. Silent if clearing is under a condition of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import is_periodic, last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import always_with, once_per_place, optimizer_steps, receiver, scaler_calls

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
for i in range(100):
    optimizer.zero_grad()  # <- TW342
    (model(torch.rand(8, 4)).mean() / 4).backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
for i in range(100):
    (model(torch.rand(8, 4)).mean() / 4).backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
"""


@rule(code="TW342", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at clearing and backward in one turn whose step is not in every turn."""
    yield from _ungated(analysis)
    backwards = list(analysis.method_calls("backward"))
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    for clear in once_per_place(analysis.method_calls("zero_grad")):
        for backward in backwards:
            if not (
                _same_body(clear, backward) and clear.at < backward.at and always_with(clear.context, backward.context)
            ):
                continue
            step = next((one for one in steps if _later_and_rarer(backward, one) and _fits(clear, one)), None)
            if step is not None and not _between(clear, backward, steps):
                yield Hit(
                    place=analysis.place(clear.node, clear.context),
                    message="gradients are cleared before every micro-batch; the step sees only the last one's",
                    evidence=(Evidence("it steps once in several", analysis.place(step.node, step.context)),),
                    fix="Clear them after the step, under the same condition.",
                )
                break


def _ungated(analysis: Analysis) -> Iterator[Hit]:
    """Yield clearing of a model within `accelerator.accumulate`, which holds back only what optimizers do."""
    for clear in once_per_place(analysis.method_calls("zero_grad")):
        around = [one.node for one in clear.context.withs if isinstance(one.node, ast.Call)]
        accumulates = any(
            last_name(one.func) == "accumulate" and "ccelerator" in ast.unparse(one.func) for one in around
        )
        if accumulates and "optim" not in receiver(clear).lower() and receiver(clear).rpartition(".")[2] != "opt":
            if any("sync_gradients" in ast.unparse(test) for test, _ in clear.context.branches):
                continue
            yield Hit(
                place=analysis.place(clear.node, clear.context),
                message=f"`{receiver(clear)}.zero_grad()` clears at every micro-batch; only a prepared optimizer waits",
                fix="Call `zero_grad()` of the optimizer.",
            )


def _same_body(a: Call, b: Call) -> bool:
    return (
        a.context.function is b.context.function
        and a.context.loops == b.context.loops
        and (a.context.callers == b.context.callers)
    )


def _later_and_rarer(backward: Call, step: Call) -> bool:
    if not _same_body(backward, step) or step.at < backward.at or not always_with(backward.context, step.context):
        return False
    extra = [one for one in step.context.branches if one not in backward.context.branches]
    return any(truth and is_periodic(test, step.context) for test, truth in extra)


def _fits(clear: Call, step: Call) -> bool:
    """Say whether the two are of one optimizer, as far as names tell; scalers name it as an argument."""
    stepped = ast.unparse(step.node.args[0]) if step.node.args else receiver(step)
    return receiver(clear) == stepped


def _between(clear: Call, backward: Call, steps: list[Call]) -> bool:
    return any(clear.at < one.at < backward.at and _same_body(clear, one) for one in steps)
