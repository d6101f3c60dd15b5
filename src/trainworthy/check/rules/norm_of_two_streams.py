"""One BatchNorm serves two streams of different data.

What it finds:
    A BatchNorm that one forward pass calls at least twice, with inputs whose means are three spreads apart, or whose
    spreads differ by a factor of nine.

Why:
    Each call normalises by its own batch in training, but the running statistics mix both streams: in evaluation
    neither is normalised.

How sure:
    Sure of the numbers. Siamese networks, whose streams are alike, are not reported.
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
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(16, 2)
        self.norm = nn.BatchNorm1d(8)  # <- TW367

    def forward(self, x, y):
        return self.out(torch.cat([self.norm(self.a(x)), self.norm(self.b(y))], 1))


model = Two()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    out = model(torch.randn(16, 6), 50 + 30 * torch.randn(16, 6))
    loss = nn.functional.cross_entropy(out, torch.randint(2, (16,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(16, 2)

    def forward(self, x, y):
        return self.out(torch.cat([self.norm(self.a(x)), self.norm(self.b(y))], 1))


model = Two()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    out = model(torch.randn(16, 6), torch.randn(16, 6))
    loss = nn.functional.cross_entropy(out, torch.randint(2, (16,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW367", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield models with such a norm."""
    for signals in facts.signals:
        apart = [(name, gap) for name, gap in signals.two_streams if gap >= 3]
        if apart:
            name, gap = apart[0]
            yield Hit(
                place=signals.made_at or signals.place,
                message=f"{name} in {signals.model} normalises two streams that differ {gap:.1f}-fold in one "
                f"forward pass",
                evidence=(Evidence("in this call", signals.place),) if signals.made_at is not None else (),
                fix="A BatchNorm for each stream, or LayerNorm.",
            )
