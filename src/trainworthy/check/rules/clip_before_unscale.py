"""Gradients are clipped while they are still multiplied by the loss scale.

What it finds:
    A GradScaler that is enabled has scaled the loss, and gradients are clipped before scaler.unscale_(optimizer), twice or
    more.

Why:
    The scale is 65,536 at first: clipping to 1 then means clipping to 1/65,536.

How sure:
    Sure of the order.
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
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # <- TW209
    scaler.step(optimizer)
    scaler.update()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
"""


@rule(code="TW209", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that clip too early twice."""
    for place in dict.fromkeys(c.place for c in facts.clips):
        calls = [c for c in facts.clips if c.place == place]
        if len(calls) >= 2 and all(c.before_unscale for c in calls):
            yield Hit(
                place=place,
                message=f"{calls[0].function} clips gradients that GradScaler has scaled and nobody has unscaled",
                evidence=(Evidence(f"{len(calls)} calls"),),
                fix="scaler.unscale_(optimizer) before clipping.",
            )
