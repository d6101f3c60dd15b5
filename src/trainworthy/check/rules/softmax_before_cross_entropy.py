"""A softmax goes into cross-entropy, which takes logits.

What it finds:
    In the graph of a loss: negative log-likelihood of the log-softmax of a softmax, with nothing but changes of form
    in between.

Why:
    cross_entropy applies log-softmax itself. After a second one no class can get more than about e times the weight
    of another per unit, gradients are small, and training is slow and stops early.

How sure:
    Sure: it is read from the graph. log_softmax twice is the same as once and is not reported.
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
    loss = nn.functional.cross_entropy(model(x).softmax(1), y)  # <- TW201
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
    scores = model(x)
    weights = scores.softmax(1)
    loss = nn.functional.cross_entropy(scores, y) + 0.1 * (weights * weights.log()).sum(1).mean()
    loss = loss + nn.functional.cross_entropy(scores.log_softmax(1), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW201", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each loss whose graph has it."""
    for place in dict.fromkeys(p for b in facts.backwards for f, p in b.faults if f == "softmax-cross-entropy"):
        yield Hit(
            place=place,
            message="cross_entropy gets the output of a softmax; it applies log_softmax itself",
            evidence=(Evidence("graph: NllLoss <- LogSoftmax <- Softmax"),),
            fix="Pass the logits; take softmax only for what is shown or sampled.",
        )
