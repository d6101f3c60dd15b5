"""All units of a layer are equal, and stay so.

What it finds:
    In two steps, all rows of a weight matrix are equal, and so are all rows of its gradient, which is not 0.

Why:
    Units that begin equal and get equal gradients stay equal: the layer has the width of one unit. Weights were set to
    a
    constant.

How sure:
    Sure of the values. A last layer that begins with 0 gets different gradients for each row and is not reported.
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
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
nn.init.constant_(model[0].weight, 0.5)  # <- TW364
nn.init.constant_(model[0].bias, 0.0)
nn.init.constant_(model[2].weight, 0.5)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = (model(torch.randn(8, 4)) - torch.randn(8, 1)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
nn.init.zeros_(model[2].weight)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW364", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield weights that were so in two steps."""
    for steps in facts.steps_by_optimizer():
        found = [s for s in steps if s.alike_rows]
        names = set.intersection(*(set(s.alike_rows) for s in found)) if len(found) >= 2 else set()
        if names:
            yield Hit(
                place=found[0].alike_at or found[0].place,
                message=f"All rows of {listed(sorted(names))} are equal, and so are the rows of the gradient: "
                "its units stay "
                "copies of one another",
                evidence=(Evidence(f"in {len(found)} steps", found[0].place),),
                fix="Initialise weights at random (the default of nn.Linear), constants only for biases.",
            )
