"""A sigmoid goes into binary_cross_entropy_with_logits, which takes logits.

What it finds:
    In the graph of a loss: BinaryCrossEntropyWithLogits on a sigmoid, with nothing but changes of form in between.

Why:
    The sigmoid is applied twice; predictions stay between 0.5 and 0.73.

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
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(2, (8, 1)).float()
    loss = nn.functional.binary_cross_entropy_with_logits(torch.sigmoid(model(x)), y)  # <- TW202
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(2, (8, 1)).float()
    loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
    loss = loss + nn.functional.binary_cross_entropy(torch.sigmoid(model(x)), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW202", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each loss whose graph has it."""
    for place in dict.fromkeys(p for b in facts.backwards for f, p in b.faults if f == "sigmoid-bce-logits"):
        yield Hit(
            place=place,
            message="binary_cross_entropy_with_logits gets the output of a sigmoid; it applies one itself",
            evidence=(Evidence("graph: BinaryCrossEntropyWithLogits <- Sigmoid"),),
            fix="Pass the logits.",
        )
