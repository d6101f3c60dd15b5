"""The learning rate will be 0 long before the loop ends.

What it finds:
    A `LambdaLR` that moves once a step, and whose rate is (almost) 0 from a step on that lies before 70 % of the plan:
    epochs of the loop, times batches of the loader, times the steps per batch that were seen.

Why:
    The number of training steps that the schedule was given is wrong: batches divided by the accumulation twice, by
    the number of processes although the loader is not split, or one epoch instead of all. The rest of the training does
    nothing.

How sure:
    Sure of the rates, which are the schedule's own function. The plan is that of `for epoch in range(E)` around the
    loop over the loader. A loop that leaves by a limit of steps is stopped before: then the training is too short.
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
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
loader = DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / len(loader)))
for epoch in range(3):
    for (x,) in loader:
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()  # <- TW336
        schedule.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
loader = DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: max(0.0, 1 - n / (2 * len(loader))))
for epoch in range(2):
    for (x,) in loader:
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
"""


@rule(code="TW336", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield schedules that end before the plan."""
    for fact in facts.schedules:
        yield Hit(
            place=fact.place,
            message=f"The rate of {fact.class_name} is 0 from step {fact.zero_from} on, and {fact.planned} are planned",
            evidence=(
                Evidence(
                    f"{fact.epochs} epochs of {fact.batches} batches, {fact.steps_per_batch:.3g} steps a batch",
                    fact.loop,
                ),
            ),
            fix="Give the schedule the number of optimizer steps: epochs * ceil(len(loader) / accumulation).",
        )
