"""The learning rate is gone after a few steps.

What it finds:
    For three steps in a row the largest learning rate of an optimizer is at most a millionth of the highest seen.

Why:
    The scheduler steps once a batch where once an epoch was meant, or several times a step, and is at its end.

How sure:
    Sure of the numbers. A first few steps at 0 (warm-up) are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

if TYPE_CHECKING:
    from trainworthy.check.live.facts_steps import Step

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.01)
for step in range(10):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW362
    schedule.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(n / 8, 1.0) * 0.9**n)
for step in range(10):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
"""


@rule(code="TW362", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers whose rate is gone for three steps."""
    if facts.schedules:  # TW320 says why
        return
    for steps in facts.steps_by_optimizer():
        rates = [s.learning_rate for s in steps if s.learning_rate is not None]
        if len(rates) < len(steps) or not rates or max(rates) <= 0:
            continue
        top, at = max(rates), rates.index(max(rates))
        low: list[Step] = []
        for step in reversed(steps[at:]):
            if (step.learning_rate or 0) > 1e-6 * top:
                break
            low.insert(0, step)
        if len(low) >= 3:
            yield Hit(
                place=low[0].place,
                message=f"The learning rate was {top:.3g} at its highest and is {low[-1].learning_rate:.3g} after "
                f"{len(steps)} steps",
                evidence=(Evidence("rates: " + ", ".join(f"{r:.3g}" for r in rates[:12])),),
                fix="Step the scheduler once an epoch, or give it the number of optimizer steps.",
            )
