"""What a line initialised is overwritten by a more general initialisation that comes later.

What it finds:
    A line with a function of `torch.nn.init` of which no number is left when training begins, because another one,
    mostly in `model.apply(...)`, filled all its parameters again, and others too. Either the general one had come
    before as well, so that the line was an exception to it, or the line had chosen a constant: a weight of zero, a bias
    that is neither 0 nor 1.

Why:
    A block gives its last layer a smaller scale, a branch starts at zero, a detector's bias holds the prior; then the
    whole model's `apply(init_weights)` comes to these layers too. Nothing fails: the network trains from another start,
    slower or not at all where depth needs the special scale.

How sure:
    Sure of what was filled, and by whom. Constructors of torch's own layers are not counted, nor is a second
    initialisation with the same numbers, nor one of exactly the same parameters (somebody compares initialisations).

When it is wrong:
    A part is taken from elsewhere and meant to start as the rest does: then its own initialisation is idle.
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
def initialise(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.out = nn.Linear(4, 8), nn.Linear(8, 4)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        return x + self.out(self.wide(x).relu())


model = nn.Sequential(Block(), Block(), nn.Linear(4, 1))
model.apply(initialise)  # <- TW331
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
def initialise(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.out = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return x + self.out(self.wide(x).relu())


model = nn.Sequential(Block(), Block(), nn.Linear(4, 1))
model.apply(initialise)
for block in model[:2]:
    nn.init.zeros_(block.out.weight)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW331", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what took the place of such lines."""
    for fact in facts.lost_fills:
        lost = "a parameter" if fact.count == 1 else f"{fact.count} parameters"
        yield Hit(
            place=fact.place,
            message=f"Fills {lost} with {fact.by} that had been given {fact.what} one by one: nothing of that is left",
            evidence=(Evidence(f"{fact.what}, of which nothing is left", fact.at),),
            fix="Initialise in general first, and the exceptions after it.",
        )
