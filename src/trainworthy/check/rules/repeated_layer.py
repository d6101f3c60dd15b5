"""A list of layers holds one layer several times.

What it finds:
    All entries of a ModuleList or Sequential are the same instance, and it has parameters.

Why:
    [layer] * n, or a comprehension over a layer that was made once, makes one layer: the network has the depth, and not
    the parameters.

How sure:
    Sure of identity. Sharing all layers on purpose (ALBERT, weight-tied iterations) looks the same.
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
        self.layers = nn.ModuleList([nn.Linear(4, 4)] * 3)  # <- TW304
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
relu = nn.ReLU()
model = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, nn.Sequential(relu, relu), nn.Linear(4, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW304", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each such list."""
    for fact in facts.shared:
        yield Hit(
            place=fact.place,
            message=f"{fact.container} {fact.path!r} holds one {fact.class_name} {fact.times} times: "
            f"{fact.parameters:,} parameters instead of {fact.times * fact.parameters:,}",
            fix="Make each one: [Layer() for _ in range(n)], or copy.deepcopy.",
        )
