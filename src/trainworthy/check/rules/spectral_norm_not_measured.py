"""A model is evaluated before its spectral norms are measured.

What it finds:
    A forward pass in evaluation mode of a model with `torch.nn.utils.spectral_norm`, before any in training mode,
    with no weights loaded.

Why:
    The old hook estimates the norm only in training mode. Before the first one it divides by a random estimate: the
    largest singular value is far from 1.

How sure:
    Certain for the old hook; `torch.nn.utils.parametrizations.spectral_norm` measures when it is made.
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
model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.eval()
with torch.no_grad():
    model(torch.randn(8, 4))  # <- TW377
for step in range(4):
    model.train()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    model.train()
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))
"""


@rule(code="TW377", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first such call."""
    for one in facts.early_evaluations:
        yield Hit(
            place=one.place,
            message=f"{one.model} is evaluated before its {one.layers} spectral norms were estimated in training mode",
            fix="torch.nn.utils.parametrizations.spectral_norm, or one forward pass in training mode first.",
        )
