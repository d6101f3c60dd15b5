"""An optimizer steps, and all of its parameters are frozen.

What it finds:
    At each of three steps or more of an optimizer, not one of its parameters requires a gradient or has one.

Why:
    The layers that the optimizer was made for were frozen afterwards, often by a loop that freezes "all but the norms"
    and takes the new head with it. Nothing of what was to be trained is trained.

How sure:
    Sure. Silent if a gradient was put there by hand, or if any parameter of the optimizer is trainable at any step.
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
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
model[0].requires_grad_(False)
model[2].requires_grad_(False)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    model.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW331
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
model[:2].requires_grad_(False)
optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    model.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW331", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers of frozen parameters only."""
    for steps in facts.steps_by_optimizer():
        if len(steps) < 3 or not any(s.backwards for s in steps):
            continue
        if all(s.parameters and not s.trainable and not s.with_gradient and not s.has_closure for s in steps):
            first = steps[0]
            yield Hit(
                place=first.place,
                message=f"{first.optimizer_class} stepped {len(steps)} times, and all of its {first.parameters} "
                "parameters have requires_grad=False",
                fix="Freeze first, then unfreeze what is to be trained, then make the optimizer from it.",
            )
