"""Parameters are initialised again and again, on the turns of modules above their own.

What it finds:
    One call of `Module.apply` in which one line fills the same parameter with random numbers on the turns of two
    modules or more that are not its owner.

Why:
    `apply` comes to every module. A function that looks through `module.named_parameters()` sees those of all modules
    below too, and so fills the deepest ones once for each level: slow, other numbers than meant, and a special scale is
    lost to whoever comes last.

How sure:
    Sure of what was filled. Shared layers and tied weights are not counted: their owners fill them.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.mlp(x)


def initialise(module):
    for name, parameter in module.named_parameters():
        if name.endswith("1.weight"):
            nn.init.normal_(parameter, std=0.01)  # <- TW332


model = nn.Sequential(Block(), Block())
model.apply(initialise)
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
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, x):
        return x + self.mlp(x)


def initialise(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


shared = Block()
model = nn.Sequential(Block(), shared, shared)
model.apply(initialise)
model.apply(initialise)
for name, parameter in model.named_parameters():
    if name.endswith("1.weight"):
        nn.init.normal_(parameter, std=0.005)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW332", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that fill what lies deeper."""
    for fact in facts.reinitialised:
        yield Hit(
            place=fact.place,
            message=f"{len(fact.names)} parameters were initialised up to {fact.times} times in one apply(), for "
            f"modules above their own ({', '.join(fact.modules[:4])}): {listed(fact.names)}",
            fix="Look at the module's own parameters only: named_parameters(recurse=False), or an exact name.",
        )
