"""Gradients are scaled, and the optimizer steps without the scaler.

What it finds:
    `scaler.scale(loss).backward()` followed by `optimizer.step()` in a file that never calls `scaler.step`.

Why:
    The optimizer sees gradients that are 65,536 times too large, and steps that overflowed are not left out.

How sure:
    The scaler is a `GradScaler` of torch, and neither `scaler.step` nor `scaler.unscale_` occurs.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import SCALERS, may_both_run, optimizer_steps, same_turn, scaler_calls

BAD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    loss = model(x).mean()
    scaler.scale(loss).backward()
    optimizer.step()  # <- TW208
    scaler.update()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cuda")
for x in torch.rand(10, 8, 4).cuda():
    optimizer.zero_grad()
    loss = model(x).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""


@rule(code="TW208", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at steps beside a scaled backward."""
    if analysis.mentions("unscale_") or any(True for _ in scaler_calls(analysis, "step")):
        return
    # Only scalers that are surely torch's: libraries of lower precision have optimizers that unscale by themselves.
    scaled = list(analysis.calls(*[f"{one}.scale" for one in SCALERS]))
    for step in optimizer_steps(analysis):
        for scale in scaled:
            if (
                scale.at < step.at
                and same_turn(scale.context, step.context)
                and may_both_run(scale.context, step.context)
            ):
                yield Hit(
                    place=analysis.place(step.node, step.context),
                    message="the optimizer steps on gradients that are still scaled",
                    evidence=(Evidence("the loss is scaled here", analysis.place(scale.node, scale.context)),),
                    fix="Call `scaler.step(optimizer)`.",
                )
                break
