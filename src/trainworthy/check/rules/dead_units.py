"""The units of a layer give 0 for every sample.

What it finds:
    After a ReLU: nine units in ten or more were 0 for all of at least 64 samples, over five steps or more.

Why:
    A unit that is 0 for every sample has no gradient and stays dead: a bias or a learning rate that is far too large,
    inputs that are not centred, or an initialisation that points the wrong way.

How sure:
    Sure of the samples that were seen. Fewer dead units are common and are not reported.
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
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))  # the module's line is not the user's
nn.init.constant_(model[0].bias, -50.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    scores = model(torch.randn(16, 4))  # <- TW338
    loss = nn.functional.cross_entropy(scores, torch.randint(3, (16,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
nn.init.constant_(model[0].bias[:20], -50.0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    scores = model(torch.randn(16, 4))
    loss = nn.functional.cross_entropy(scores, torch.randint(3, (16,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW338", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield layers that are dead."""
    for fact in facts.dead_units:
        yield Hit(
            place=fact.place,
            message=f"{fact.dead} of {fact.units} units of {fact.module} after {fact.op} gave 0 for each of "
            f"{fact.samples} samples in {fact.steps} steps",
            fix="Look at the initialisation, the scale of the inputs, and the learning rate.",
        )
