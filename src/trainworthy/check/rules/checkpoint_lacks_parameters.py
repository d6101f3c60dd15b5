"""A checkpoint lacks some of the model's parameters.

What it finds:
    A file that holds at least half of a model's parameters by number, and not all of them.

Why:
    What saves goes by the optimizer's parameters, and frozen ones are not among them; loaded with strict=False, a
    resumed model has random weights where the frozen ones were.

How sure:
    Sure of what is in the file. A hint if the missing ones are most of the model's elements, or none of them is frozen:
    adapters are saved alone on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
import io

model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(8, 3))
model[0].requires_grad_(False)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
for step in range(3):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
torch.save({"model": trained, "optimizer": optimizer.state_dict()}, io.BytesIO())  # <- TW631
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
import io

model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(8, 3))
model[0].requires_grad_(False)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
for step in range(3):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, io.BytesIO())
torch.save(model[2].state_dict(), io.BytesIO())
"""


@rule(code="TW631", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first such file."""
    for save in [s for s in facts.saves if s.missing][:1]:
        which = f", {save.frozen} of them frozen" if save.frozen else ""
        yield Hit(
            place=save.place,
            severity="warning" if save.frozen and save.share >= 0.5 else "hint",
            message=f"The checkpoint lacks {len(save.missing)} parameters of {save.model}{which}: "
            f"{listed(save.missing)}",
            fix="Save model.state_dict(), and load with strict=True.",
        )
