"""A model that was in training mode trains on in evaluation mode.

What it finds:
    Three steps in a row whose forward pass has gradients while the model, which has dropout or BatchNorm, is in
    evaluation mode, after earlier steps in training mode.

Why:
    An evaluation called model.eval() and nobody called model.train(): no dropout, and old statistics in BatchNorm.

How sure:
    Sure of the mode. A model that is in evaluation mode from the first step on is fine-tuned so on purpose and is not
    reported.
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
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for step in range(steps):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)  # <- TW313
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()



train(4)
model.eval()
with torch.no_grad():
    model(torch.randn(8, 4))
train(4)
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(steps):
    for step in range(steps):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()



train(4)
model.eval()
with torch.no_grad():
    model(torch.randn(8, 4))
model.train()
train(4)
"""


@rule(code="TW313", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that changed from training to evaluation mode and trained on."""
    backward = {b.step for b in facts.backwards}
    for model in dict.fromkeys(f.model for f in facts.forwards):
        calls = [f for f in facts.forwards if f.model == model and f.grad and f.mode_layers and f.step in backward]
        trained = [f.step for f in calls if f.training]
        wrong = [f for f in calls if not f.training and trained and f.step > trained[0]]
        steps = sorted({f.step for f in wrong} - set(trained))
        if len(steps) >= 3 and steps == list(range(steps[0], steps[0] + len(steps))):
            first = wrong[0]
            yield Hit(
                place=first.place,
                message=f"{first.name} trains in evaluation mode since step {steps[0] + 1}; before, it was in training "
                f"mode. It has {' and '.join(first.mode_layers)}",
                evidence=(Evidence(f"{len(steps)} steps in a row"),),
                fix="model.train() at the beginning of each epoch.",
            )
