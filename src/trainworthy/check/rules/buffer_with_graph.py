"""A buffer of a model carries a graph from step to step.

What it finds:
    After each of three steps, a registered buffer is the result of operations that autograd recorded, and of more than
    after the step before.

Why:
    A running mean that is updated with statistics that are not detached holds the graph of the batch that it was
    updated with, and that of the batch before: memory grows with each step, or the next backward pass runs through a
    graph that is gone.

How sure:
    Sure that the graph grows. Silent about buffers that are made of the last batch alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)


class Running(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        x = self.body(x)
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return x - x.mean(0)


model = Running()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = (model(torch.randn(8, 4)) - 3).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW389
"""
GOOD = BAD.replace("0.1 * x.mean(0)", "0.1 * x.detach().mean(0)").replace("  # <- TW389", "")


@rule(code="TW389", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield such buffers, once a model."""
    for fact in facts.buffers_with_graph:
        yield Hit(
            place=fact.place,
            message=f"after the step, {len(fact.names)} buffers of {fact.model} hold a graph: {listed(fact.names)}",
            evidence=(Evidence("each update hangs on the one before; memory grows with every step"),),
            fix="Update them under `torch.no_grad()`, or with `x.detach()`.",
        )
