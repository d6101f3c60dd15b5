"""The loss explodes.

What it finds:
    The loss of one line grows in four steps in a row or more, to a thousand times what it was, or until it is not
    finite after growing tenfold.

Why:
    The learning rate is too high for these data and this initialisation; usually by a factor of ten or more.

How sure:
    Sure of the numbers. Losses without a trend, as of GANs, do not grow like this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
for step in range(12):
    x = torch.randn(32, 4)
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()  # <- TW376
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(12):
    x = torch.randn(32, 4)
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW376", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield lines whose loss did so."""
    for place in dict.fromkeys(b.place for b in facts.backwards):
        losses = [b.loss for b in facts.backwards if b.place == place and b.loss is not None]
        run = _growth(losses)
        if run:
            rates = sorted({s.learning_rate for s in facts.steps if s.learning_rate})
            shown = f", at a learning rate of {rates[-1]:.3g}" if rates else ""
            yield Hit(
                place=place,
                message=f"the loss grew from {run[0]:.3g} to {run[-1]:.3g} in {len(run) - 1} steps{shown}",
                evidence=(Evidence("losses: " + ", ".join(f"{v:.3g}" for v in run[:10])),),
                fix="A tenth of the learning rate, warm-up, or clip_grad_norm_.",
            )


def _growth(losses: list[float]) -> list[float]:
    """Return the first run of growing losses that is long and steep enough.

    >>> _growth([1.0, 5.0, 70.0, 900.0, 2e4])
    [1.0, 5.0, 70.0, 900.0, 20000.0]
    >>> _growth([1.0, 2.0, 3.0, 4.0, 5.0])
    []
    """
    run: list[float] = []
    for value in losses:
        last = run[-1] if run else None
        if last is not None and not math.isfinite(value):
            return [*run, value] if len(run) >= 3 and last >= 10 * abs(run[0]) else []
        run = [*run, value] if last is not None and value > last else [value]
        if len(run) >= 5 and run[0] > 0 and run[-1] >= 1000 * run[0]:
            return run
    return []
