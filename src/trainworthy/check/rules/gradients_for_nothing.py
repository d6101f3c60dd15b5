"""A model gets gradients that nobody uses.

What it finds:
    In three steps or more, all parameters of a model got gradients, none of them belongs to an optimizer, and none
    changed.

Why:
    A frozen network in a loss still computes and keeps gradients of its weights: time and memory for nothing. If it is
    to
    learn, it has no optimizer.

How sure:
    Sure. A hint, because results are right if the network is to stay as it is.
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
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

critic = nn.Linear(3, 1)
for step in range(5):
    scores = model(torch.randn(8, 4))
    loss = critic(scores).mean() + scores.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW752
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

critic = nn.Linear(3, 1).requires_grad_(False)
for step in range(5):
    scores = model(torch.randn(8, 4))
    loss = critic(scores).mean() + scores.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW752", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models of which nothing is optimised."""
    for fact in facts.unoptimised:
        if fact.registered and not fact.others_optimised:
            yield Hit(
                place=fact.place,
                message=f"{fact.model} got gradients for {len(fact.names)} parameters in {fact.steps} steps; "
                "no optimizer has "
                "any of them, and none changed",
                fix="model.requires_grad_(False) if it is to stay as it is; else give it to an optimizer.",
            )
