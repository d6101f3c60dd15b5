"""Gradients are clipped after the optimizer has used them.

What it finds:
    Twice or more, clip_grad_norm_ or clip_grad_value_ gets gradients that a step used already and that no backward pass
    has changed since.

Why:
    The clipping has no effect.

How sure:
    Sure: gradients are followed by identity and version.
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
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW310
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

from torch.nn.utils import clip_grad_norm_, clip_grad_value_
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm_(model.parameters(), 1.0)
    clip_grad_value_(model.parameters(), 1.0)
    optimizer.step()
"""


@rule(code="TW310", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that clip too late twice, and never in time."""
    for place in dict.fromkeys(c.place for c in facts.clips):
        calls = [c for c in facts.clips if c.place == place]
        if len(calls) >= 2 and all(c.after_step for c in calls):
            yield Hit(
                place=place,
                message=f"{calls[0].function} clips gradients that optimizer.step() has used already",
                evidence=(Evidence(f"{len(calls)} calls, none in time"),),
                fix="backward(), then clip, then step().",
            )
