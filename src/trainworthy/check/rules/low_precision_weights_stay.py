"""Weights of low precision do not move, because the update is rounded away.

What it finds:
    Parameters in bfloat16 or float16: in three steps in a row, of the sampled elements with a gradient more than 90 %
    were bit for bit the same after the step.

Why:
    bfloat16 has 8 bits of mantissa: an update below 1/256 of a weight is lost, however many steps come.

How sure:
    Sure of the sampled elements. Stochastic rounding or master weights inside an optimizer show themselves by moving.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(64, 64).bfloat16()  # <- TW257
optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
for step in range(5):
    x = torch.randn(8, 64).bfloat16()
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(64, 64).bfloat16()
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
for step in range(5):
    x = torch.randn(8, 64).bfloat16()
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW257", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that stand still in three steps."""
    for steps in facts.steps_by_optimizer():
        run = longest_run(steps, lambda s: s.rounded_share is not None and s.rounded_share > 0.9)
        if len(run) >= 3:
            share = min(s.rounded_share or 0 for s in run)
            yield Hit(
                place=run[0].cast_at or run[0].made_at or run[0].place,
                message=f"In {len(run)} steps in a row, at least {share:.0%} of the sampled "
                f"{run[0].low_precision} weights "
                "with a gradient stayed bit for bit the same",
                evidence=(Evidence(f"steps with learning rate {run[0].learning_rate:.3g}", run[0].place),),
                fix="Keep float32 master weights (autocast over float32 parameters), or an optimizer that rounds "
                "stochastically.",
            )
