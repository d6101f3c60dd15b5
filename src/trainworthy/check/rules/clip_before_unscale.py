"""Gradients are clipped while they are still scaled.

What it finds:
    `clip_grad_norm_` between `scaler.scale(loss).backward()` and `scaler.step`, without `scaler.unscale_`.

Why:
    Gradients are multiplied by the scale, 65,536 at first: nearly every step is clipped to a 65,536th of what was
    meant.

How sure:
    The scaler is a `GradScaler` of torch and `unscale_` occurs nowhere in the file or what it imports.

In real steps:
    A GradScaler that is enabled has scaled the loss, and gradients are clipped before scaler.unscale_(optimizer),
    twice or more.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import CLIPPERS, may_both_run, same_turn, scaler_calls

BAD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    scaler.scale(model(x).mean()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW209
    scaler.step(optimizer)
    scaler.update()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.cuda.amp.GradScaler()
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    scaler.scale(model(x).mean()).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


@rule(code="TW209", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at clips beside a scaled backward and the scaler's step."""
    if analysis.mentions("unscale_"):
        return
    scales = list(scaler_calls(analysis, "scale"))
    steps = list(scaler_calls(analysis, "step"))
    for clip in analysis.calls(*CLIPPERS):
        before = [
            one
            for one in scales
            if one.at < clip.at and same_turn(one.context, clip.context) and may_both_run(one.context, clip.context)
        ]
        after = [one for one in steps if one.at > clip.at and _in_turn(one, clip)]
        if after:
            shown = before[0] if before else after[0]
            what = (
                "the loss is scaled here" if before else "the scaler takes the gradients here, and unscales them itself"
            )
            yield Hit(
                place=analysis.place(clip.node, clip.context),
                message="gradients are clipped while they are multiplied by the scale",
                evidence=(Evidence(what, analysis.place(shown.node, shown.context)),),
                fix="Call `scaler.unscale_(optimizer)` before clipping.",
            )


def _in_turn(step: Call, clip: Call) -> bool:
    """Say whether a step follows in the same turn, or in a loop over optimizers within it."""
    loops = clip.context.loops
    return (
        step.context.function is clip.context.function
        and step.context.loops[: len(loops)] == loops
        and (step.context.callers == clip.context.callers and may_both_run(step.context, clip.context))
    )


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW209
    scaler.step(optimizer)
    scaler.update()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


@rule(code="TW209", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that clip too early twice."""
    for place in dict.fromkeys(c.place for c in facts.clips):
        calls = [c for c in facts.clips if c.place == place]
        if len(calls) >= 2 and all(c.before_unscale for c in calls):
            yield Hit(
                place=place,
                message=f"{calls[0].function} clips gradients that GradScaler has scaled and nobody has unscaled",
                evidence=(Evidence(f"{len(calls)} calls"),),
                fix="scaler.unscale_(optimizer) before clipping.",
            )
