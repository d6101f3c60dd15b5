"""Weights of float16 are trained without scaling the loss.

What it finds:
    An optimizer that steps parameters of float16 in two steps, with no GradScaler in use.

Why:
    Gradients below 6e-8 are 0 in float16, Adam's eps of 1e-8 too, and a loss above 65504 is infinite: training stands
    still or ends in NaN, which loggers may hide.

How sure:
    Sure of the type. Optimizers that keep float32 copies step those, and are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3).half()  # <- TW267
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    out = model(torch.randn(8, 4).half()).float()
    loss = nn.functional.cross_entropy(out, torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    with torch.autocast("cpu", torch.bfloat16):
        out = model(torch.randn(8, 4)).float()
    loss = nn.functional.cross_entropy(out, torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW267", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that do so in two steps."""
    for steps in facts.steps_by_optimizer():
        found = [s for s in steps if s.low_precision == "float16"]
        if len(found) >= 2 and not facts.scaler_used:
            yield Hit(
                place=found[0].cast_at or found[0].made_at or found[0].place,
                message=f"{found[0].optimizer_class} updates weights of float16, and no GradScaler is in use",
                evidence=(Evidence(f"in {len(found)} steps", found[0].place),),
                fix="Keep weights in float32 under autocast with a GradScaler, or use bfloat16.",
            )
