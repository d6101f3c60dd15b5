"""An evaluation keeps graphs that nobody uses.

What it finds:
    A model in evaluation mode is called with gradients on three times or more between two steps, and no backward pass
    comes.

Why:
    Each call keeps its activations for a backward pass: memory, and time, for nothing.

How sure:
    Sure. A hint, because results are right.
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
for batch in range(4):
    model(torch.randn(8, 4))  # <- TW703
model.train()
train(1)
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
with torch.inference_mode():
    for batch in range(4):
        model(torch.randn(8, 4))
model.train()
train(1)
"""


@rule(code="TW703", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models that were called so between two steps."""
    used: dict[int, int] = {}
    for b in facts.backwards:
        used[b.step] = used.get(b.step, 0) + 1
    for model in dict.fromkeys(f.model for f in facts.forwards if f.trainable):
        calls = [f for f in facts.forwards if f.model == model and f.grad and not f.training]
        trains = any(f.grad and f.training for f in facts.forwards if f.model == model)
        for step in dict.fromkeys(f.step for f in calls):
            run = [f for f in calls if f.step == step]
            if trains and len(run) - used.get(step, 0) >= 3 and len({f.place for f in run}) == 1:
                yield Hit(
                    place=run[0].place,
                    message=f"{run[0].name}, in evaluation mode, is called {len(run)} times with gradients on and no backward "
                    "pass: each call keeps its activations",
                    fix="with torch.inference_mode(): around the evaluation.",
                )
                return
