"""nll_loss gets probabilities instead of their logarithms.

What it finds:
    In the graph of a loss: NllLoss directly on a softmax.

Why:
    The loss is then minus the probability: it is negative, bounded, and its gradient fades where it is needed most.

How sure:
    Sure: it is read from the graph.
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
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.nll_loss(model(x).softmax(1), y)  # <- TW203
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.nll_loss(model(x).log_softmax(1), y) + nn.functional.nll_loss(model(x).softmax(1).log(), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW203", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each loss whose graph has it."""
    for place in dict.fromkeys(p for b in facts.backwards for f, p in b.faults if f == "nll-probabilities"):
        yield Hit(
            place=place,
            message="nll_loss gets the output of a softmax; it takes log-probabilities",
            evidence=(Evidence("graph: NllLoss <- Softmax"),),
            fix="Use log_softmax, or cross_entropy on the logits.",
        )
