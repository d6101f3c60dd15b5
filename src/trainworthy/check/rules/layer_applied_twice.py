"""A norm or dropout layer is given its own output.

What it finds:
    `self.norm(self.norm(x))`, or the same over several lines: a BatchNorm, LayerNorm, GroupNorm or dropout layer whose
    input is what it gave itself, with nothing but views between.

Why:
    Dropout drops twice, with 1 - (1 - p)^2 in place of p. A batch norm keeps one set of running statistics for two
    different inputs, which fits neither of them in evaluation.

How sure:
    Sure: the graph tells where the input came from. Silent about dropout with p = 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.drop, self.head = nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 3)

    def forward(self, x):
        x = self.drop(self.body(x)).unsqueeze(1)
        x = self.drop(x)  # <- TW397
        return self.head(x.squeeze(1))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("x = self.drop(x)  # <- TW397", "x = self.drop(x.relu())")


@rule(code="TW397", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield such calls."""
    for fact in facts.applied_twice:
        yield Hit(
            place=fact.place,
            message=f"{fact.layer or fact.operation} is given its own output: it is applied twice in a row",
            fix="Remove one of the two calls, or make a layer for each.",
        )
