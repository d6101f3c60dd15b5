"""A model with spectral norms is evaluated before it ever trained.

What it finds:
    Layers under `torch.nn.utils.spectral_norm` that are used in evaluation mode while their estimate of the norm is
    still random: one more step of the estimate would point elsewhere.

Why:
    The estimate begins with random vectors and is improved in training mode only. Before, weights are divided by a
    random number, mostly far too small: outputs of the first evaluation mean nothing.

How sure:
    Sure: the angle is computed. After one forward pass in training mode, or a checkpoint, it is small.
    `torch.nn.utils.parametrizations.spectral_norm` estimates when it is made and is never reported.
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
norm = nn.utils.spectral_norm
model = nn.Sequential(norm(nn.Linear(16, 32)), nn.ReLU(), norm(nn.Linear(32, 4)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model.eval()
with torch.no_grad():
    model(torch.randn(8, 16))  # <- TW333
model.train()
for step in range(3):
    loss = model(torch.randn(8, 16)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
norm = nn.utils.parametrizations.spectral_norm
old = nn.utils.spectral_norm(nn.Linear(32, 4))
model = nn.Sequential(norm(nn.Linear(16, 32)), nn.ReLU(), old)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(3):
    loss = model(torch.randn(8, 16)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 16))
    model.train()
"""


@rule(code="TW333", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield evaluations with norms that are not ready."""
    for fact in facts.spectral_norms:
        yield Hit(
            place=fact.place,
            message=f"{len(fact.names)} spectral norms are used in evaluation before they estimated the norm once: "
            f"{listed(fact.names)}",
            evidence=(Evidence(f"cosine between the estimate and its next step: {fact.alignment:.2f}, not 1"),),
            fix="Use torch.nn.utils.parametrizations.spectral_norm, or run a batch in training mode first.",
        )
