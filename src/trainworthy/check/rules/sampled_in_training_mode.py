"""A model with BatchNorm makes samples in training mode.

What it finds:
    A model with BatchNorm that is trained, or a part of it, is also called without gradients while in training mode,
    on another line, in two different steps. Off by default.

Why:
    Every such call moves the running statistics, towards whatever it is given, and the samples depend on what else is
    in their batch.

How sure:
    Sure of the mode, not of the purpose, so it is off by default: pseudo-labels, teachers that share weights, and the
    generator's pass in a discriminator's step look the same. Neither how often the call is made, nor what is called
    next, nor where its input comes from tells them from a sample that is only shown.
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
G = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(G.parameters(), lr=0.1)
for step in range(5):
    loss = G(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        pictures = G(torch.randn(2, 4))  # <- TW368
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
G = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(G.parameters(), lr=0.1)
for step in range(5):
    loss = G.train()(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        pictures = G.eval()(torch.randn(2, 4))
"""


@rule(code="TW368", severity="hint", depth="live", default=False)
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Compare where a model is called with gradients and without."""
    trained = {(f.whole, f.place) for f in facts.forwards if f.grad and f.training}
    models = {model for model, _ in trained}
    quiet = [
        f for f in facts.forwards
        if not f.grad and f.training and f.whole in models and (f.whole, f.place) not in trained
        and any("BatchNorm" in layer for layer in f.mode_layers)
    ]  # fmt: skip
    for place in dict.fromkeys(f.place for f in quiet):
        found = [f for f in quiet if f.place == place]
        if len({f.step for f in found}) >= 2:
            yield Hit(
                place=place,
                message=f"{found[0].name} is called without gradients in training mode, between steps "
                f"({len(found)} seen), and its running statistics move each time",
                fix="eval() before it, train() after it.",
            )
