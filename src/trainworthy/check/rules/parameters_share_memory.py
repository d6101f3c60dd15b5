"""Two parameters are different objects in the same memory.

What it finds:
    Two parameters of a model that require gradients, are not one object, and begin at the same address with the same
    shape.

Why:
    `nn.Parameter(t)` makes no copy: `scale = nn.Parameter(init)` and `shift = nn.Parameter(init)` are one block of
    numbers. The optimizer updates it twice in each step, with two gradients and two states; the two parameters can
    never differ.

How sure:
    Sure of the address. Tying weights on purpose is done with one parameter under two names, which is fine; tied by
    `a.weight.data = b.weight.data` they are updated twice, too.
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


class Affine(nn.Module):
    def __init__(self, size):
        super().__init__()
        init = torch.zeros(size)
        self.scale, self.shift = nn.Parameter(init), nn.Parameter(init)

    def forward(self, x):
        return x * self.scale.exp() + self.shift


model = Affine(4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = (model(torch.randn(8, 4)) - 3).pow(2).mean()  # <- TW387
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("nn.Parameter(init), nn.Parameter(init)", "nn.Parameter(init), nn.Parameter(init.clone())").replace(
    "  # <- TW387", ""
)


@rule(code="TW387", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first such pair of each model."""
    for fact in facts.shared_memory:
        first, second = fact.names
        yield Hit(
            place=fact.place,
            message=f"{fact.model}.{first} and {fact.model}.{second} are two parameters in the same memory: each step "
            "updates it twice",
            evidence=(Evidence(f"both begin at the same address, shape {fact.shape}"),),
            fix="Give each a tensor of its own (`init.clone()`); tie weights by one parameter under two names.",
        )
