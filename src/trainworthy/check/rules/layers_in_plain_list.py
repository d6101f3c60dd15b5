"""A loss reaches parameters that belong to no module.

What it finds:
    Parameters in the graph of a loss that are in no model that ran and in no optimizer, and did not change.

Why:
    Layers in a plain list or dict are not registered: parameters(), to(), state_dict() and train() do not see them.

How sure:
    Sure. A parameter that is used and updated by hand is not reported.
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
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW303
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


model = Net()

scale = nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(scale * model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW303", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield parameters without a home."""
    for fact in facts.unoptimised:
        if not fact.registered:
            yield Hit(
                place=fact.place,
                message=f"The loss reaches {len(fact.names)} parameters of shapes {listed(fact.names)} that belong to no "
                "model that ran and to no optimizer; they did not change",
                fix="Keep layers in nn.ModuleList or nn.ModuleDict, parameters in nn.ParameterList.",
            )
