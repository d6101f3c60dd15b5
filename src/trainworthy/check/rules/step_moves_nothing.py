"""A step leaves parameters as they were although they have gradients.

What it finds:
    In three steps in a row: a learning rate above 0, a finite gradient that is not 0, and not one of the sampled
    elements that have a gradient changed.

Why:
    The kernel ignored the update (some backends do for tensors that are not contiguous), the optimizer works on a copy,
    or the update is far below the precision of the weights.

How sure:
    Sure of the sampled elements (1,024 of up to 4 parameters). Low precision has a rule of its own (TW257).
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Lazy(torch.optim.SGD):
    def step(self, closure=None):
        pass


model = nn.Linear(4, 1)
optimizer = Lazy(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW352
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.1 * n)
optimizer.param_groups[0]["initial_lr"] = 0.1
for step in range(5):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
"""


@rule(code="TW352", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that do so in three steps."""
    for steps in facts.steps_by_optimizer():
        run = longest_run(steps, lambda s: bool(s.unmoved) and s.low_precision is None)
        names = set.intersection(*(set(s.unmoved) for s in run)) if run else set()
        if len(run) >= 3 and names:
            shown = ", ".join(sorted(names)[:3])
            yield Hit(
                place=run[0].place,
                message=f"{run[0].optimizer_class} left {shown} bit for bit as it was in {len(run)} steps in a "
                "row, with a "
                f"gradient and a learning rate of {run[0].learning_rate:.3g}",
                fix="Is step() overridden? Is the parameter contiguous, and on a backend whose kernels are "
                "known to work?",
            )
