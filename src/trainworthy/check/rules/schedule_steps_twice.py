"""A learning-rate schedule steps twice where the optimizer steps once.

What it finds:
    A scheduler of torch steps, and steps again by another way through the program before any optimizer does; at least
    twice.

Why:
    Two parts of the program each think that the schedule is theirs, such as a model and the loop around it, or a
    callback that is called for training and for evaluation: the rate falls twice as fast as planned.

How sure:
    Sure of the steps. Silent about steps before the first of an optimizer (catching up after a resume), and about those
    by one and the same way (a schedule in batches, while gradients are accumulated).
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
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)


def observe(x):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()


for epoch in range(3):
    for batch in range(3):
        observe(torch.randn(8, 4))
    scheduler.step()  # <- TW385
"""
GOOD = BAD.replace("    optimizer.step()\n    scheduler.step()", "    optimizer.step()").replace("  # <- TW385", "")


@rule(code="TW385", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield such schedulers."""
    for fact in facts.stepped_again:
        yield Hit(
            place=fact.place,
            message=f"{fact.class_name} steps here although it has stepped since the last step of an optimizer; so it "
            f"was {fact.times} times",
            evidence=(Evidence("it stepped before, here", fact.first),),
            fix="Let one part of the program step the schedule.",
        )
