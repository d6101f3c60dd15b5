"""Most units of a layer are at the ends of their range.

What it finds:
    At the beginning of training, at least 90 % of the results of a `Tanh` or `Sigmoid` module within the model, or of
    a line that calls the function `tanh`, are at the ends of its range. The last one, which makes the model's result,
    is left out; so is the function `sigmoid`, which mostly is a gate.

Why:
    The slope there is nearly 0, so what lies before it hardly learns: weights begin too large, or inputs are not
    scaled.

How sure:
    Sure of the numbers. A hint, because gates may be shut on purpose.
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
model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
nn.init.normal_(model[0].weight, std=10)  # <- TW379
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 64)), torch.randint(2, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 64)), torch.randint(2, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


_SURE = 0.9


@rule(code="TW379", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models with such a module."""
    for signals in facts.signals:
        full = [(name, share) for name, share in signals.saturated if share >= _SURE]
        if full:
            name, share = full[0]
            yield Hit(
                place=signals.filled_at or signals.place,
                message=f"{share:.0%} of the results of {name} in {signals.model} are at the ends of its range at the "
                "beginning",
                evidence=(Evidence(f"{len(full)} modules are like that in this call", signals.place),),
                fix="nn.init.xavier_uniform_, and inputs of mean 0 and spread 1.",
            )
        for place, share in [one for one in signals.saturated_lines if one[1] >= _SURE][:1]:
            yield Hit(
                place=place,
                message=f"{share:.0%} of the results of this tanh in {signals.model} are at the ends of its range at "
                "the beginning",
                fix="nn.init.xavier_uniform_, and inputs of mean 0 and spread 1.",
            )
