"""An attribute that a class uses is overwritten by who numbers all modules.

What it finds:
    One line that sets the same attribute on modules of two classes or more that had none of that name, and that so
    overwrote it on modules of a class whose own methods read it.

Why:
    A framework that keeps its notes on modules (`module.id = count`) takes the place of the class's own attribute. What
    is chosen by it afterwards, a device, an expert, a file, is the wrong one.

How sure:
    Sure of what was set. Attributes that are set on purpose are set on the classes that have them.
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
class Expert(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.id = number
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) * (self.id + 1)


model = nn.Sequential(Expert(0), nn.Tanh(), Expert(1))
for count, module in enumerate(model.modules()):
    module.id = count  # <- TW337
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
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
class Expert(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.id = number
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x) * (self.id + 1)


model = nn.Sequential(Expert(0), nn.Tanh(), Expert(1), nn.Dropout(0.5))
for module in model.modules():
    if isinstance(module, Expert):
        module.id += 1
    elif isinstance(module, nn.Dropout):
        module.p = 0.1
for count, module in enumerate(model.modules()):
    module.number = count
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(3):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW337", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield attributes that were lost."""
    for fact in facts.overwritten:
        at = fact.defined_at
        yield Hit(
            place=fact.place,
            message=f"{fact.class_name}.{fact.attribute} was {fact.before} and is {fact.after} now, on {fact.times} "
            f"modules; the same line set it on {fact.others} modules that had none",
            evidence=(Evidence(f"{fact.class_name} sets it itself here", at),) if at else (),
            fix="Use a name that no class can have, or keep notes outside: {id(module): number}.",
        )
