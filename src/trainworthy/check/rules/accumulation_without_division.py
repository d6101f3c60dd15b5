"""Gradients of several means are added without dividing by their number.

What it finds:
    One line runs backward the same number of times, at least twice, before each of three steps in a row, and the loss
    is a mean as it stands: nothing divides it.

Why:
    The gradient is as many times larger than that of one large batch, and so is the effective learning rate of SGD.

How sure:
    Sure of the graph. A hint: Adam hardly notices, and a sum may be meant.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import longest_run
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(20):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    loss.backward()  # <- TW374
    if i % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for i in range(20):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    (loss / 4).backward()
    if i % 4 == 3:
        optimizer.step()
        optimizer.zero_grad()
"""


@rule(code="TW374", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines that do so in three windows."""
    if len({s.optimizer for s in facts.steps}) != 1 or any(s.stale for s in facts.steps):
        return
    windows = [[b for b in facts.backwards if b.step == s.step] for s in facts.steps]
    run = longest_run(windows, lambda w: len(w) >= 2 and len({b.place for b in w}) == 1 and all(b.is_mean for b in w))
    if len(run) >= 3 and len({len(w) for w in run}) == 1 and len({w[0].place for w in run}) == 1:
        count = len(run[0])
        yield Hit(
            place=run[0][0].place,
            message=f"{count} backward passes of means go into each step, and none is divided by {count}",
            evidence=(Evidence(f"in {len(run)} steps in a row"),),
            fix=f"(loss / {count}).backward()",
        )
