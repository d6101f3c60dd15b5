"""Gradients are clipped at every micro-batch of an accumulation.

What it finds:
    Clipping in the turn of every micro-batch while the step runs once in several: `accelerator.clip_grad_norm_`
    within `accelerator.accumulate` that is not under `accelerator.sync_gradients`, or `clip_grad_norm_` beside a step
    under a count.

Why:
    Part sums are cut, each after the other: the gradient that the step sees depends on the order, and its norm is not
    what was asked for. With fp16, Accelerate unscales more than once.

How sure:
    Certain where the clip stands in `accumulate` without a condition, or in the same turn as the backward pass of one
    micro-batch while the step is under a remainder.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import is_periodic, last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import always_with, once_per_place, optimizer_steps, scaler_calls
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(100):
    (model(torch.rand(8, 4)).mean() / 4).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW347
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(100):
    (model(torch.rand(8, 4)).mean() / 4).backward()
    if (i + 1) % 4 == 0:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
"""


@rule(code="TW347", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at clips and the conditions of the step that follows."""
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    backwards = list(analysis.method_calls("backward"))
    for clip in once_per_place(analysis.method_calls("clip_grad_norm_", "clip_grad_value_")):
        if _in_accumulate(clip):
            if "sync_gradients" not in {last_name(part) for test, _ in clip.context.branches for part in walk(test)}:
                yield _hit(analysis, clip, None)
            continue
        step = next((one for one in steps if _same_loops(one, clip) and one.at > clip.at and _rarer(clip, one)), None)
        backward = next((one for one in backwards if _same_loops(one, clip) and one.at < clip.at), None)
        if step is not None and backward is not None and always_with(clip.context, backward.context):
            yield _hit(analysis, clip, step)


def _hit(analysis: Analysis, clip: Call, step: Call | None) -> Hit:
    evidence = () if step is None else (Evidence("it steps once in several", analysis.place(step.node, step.context)),)
    return Hit(
        place=analysis.place(clip.node, clip.context),
        message="gradients are clipped at every micro-batch, before they are complete",
        evidence=evidence,
        fix="Clip under the condition of the step (`if accelerator.sync_gradients:`).",
    )


def _in_accumulate(clip: Call) -> bool:
    """Say whether an accelerator clips within its own `accumulate`."""
    if clip.name.startswith("torch."):
        return False
    return any(
        isinstance(one.node, ast.Call)
        and last_name(one.node.func) == "accumulate"
        and _base(one.node) == _base(clip.node)
        for one in clip.context.withs
    )


def _base(call: ast.Call) -> str:
    return unparsed(call.func.value) if isinstance(call.func, ast.Attribute) else ""


def _same_loops(a: Call, b: Call) -> bool:
    return a.context.function is b.context.function and a.context.loops == b.context.loops


def _rarer(clip: Call, step: Call) -> bool:
    if not always_with(clip.context, step.context):
        return False
    extra = [one for one in step.context.branches if one not in clip.context.branches]
    return any(truth and is_periodic(test, step.context) for test, truth in extra)
