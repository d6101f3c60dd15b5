"""The signal vanishes on its way through the layers.

What it finds:
    A model without norms, with six `Linear` or convolution layers or more, of which one gives results whose spread is
    less than a millionth of that of the first, at the beginning of training.

Why:
    Weights begin too small: each layer scales the signal down, the output does not depend on the input, and gradients
    vanish the same way.

How sure:
    Sure of the numbers.
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
parts = [nn.Linear(64, 64), nn.ReLU()] * 1
for _ in range(9):
    parts += [nn.Linear(64, 64), nn.ReLU()]
model = nn.Sequential(*parts, nn.Linear(64, 1))
for p in model.parameters():
    nn.init.normal_(p, std=0.01) if p.dim() == 2 else nn.init.zeros_(p)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 64)).pow(2).mean()  # <- TW366
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
parts = [nn.Linear(64, 64), nn.ReLU()] * 1
for _ in range(9):
    parts += [nn.Linear(64, 64), nn.ReLU()]
model = nn.Sequential(*parts, nn.Linear(64, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    loss = model(torch.randn(8, 64)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW366", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that are so."""
    for signals in facts.signals:
        if len(signals.spreads) < 6:
            continue
        first, (name, least) = signals.spreads[0][1], min(signals.spreads[1:], key=lambda one: one[1])
        if 0 < least < 1e-6 * first:
            yield Hit(
                place=signals.place,
                message=f"the results of {name} in {signals.model} spread {least:.2g}, those of the first "
                f"layer {first:.2g}",
                evidence=(Evidence("spreads: " + ", ".join(f"{s:.2g}" for _, s in signals.spreads[:12])),),
                fix="nn.init.kaiming_normal_ for ReLU, xavier_normal_ for tanh; or norms between layers.",
            )
