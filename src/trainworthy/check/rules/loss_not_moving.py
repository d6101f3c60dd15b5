"""The loss does not fall on one repeated batch.

What it finds:
    The model is given the same inputs for ten steps or more, the loss at the end is not below that at the beginning by
    even a thousandth, and it does not fall little by little from step to step either, as it does with a small learning
    rate.

Why:
    A training that cannot learn one batch by heart will learn nothing else: labels drawn anew, gradients that do not
    arrive, a learning rate far too high or low.

How sure:
    Sure of inputs (by sums) and losses. Targets that change on purpose, or a loss that is not to fall (a GAN), look the
    same; silent if more than one optimizer steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

_ROUNDING = 1e-5

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

x = torch.randn(8, 4)
optimizer.param_groups[0]["lr"] = 1e-9
y = torch.randint(3, (8,))
for step in range(14):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()  # <- TW365
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

x, y = torch.randn(8, 4), torch.randint(3, (8,))
for step in range(14):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW365", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield a loss that stood still while the batch stayed the same."""
    seen = [b for b in facts.backwards if b.inputs_hash is not None and b.loss is not None]
    if len({s.optimizer for s in facts.steps}) != 1 or len(seen) < 10 or len(seen) != len(facts.backwards):
        return
    if len({b.inputs_hash for b in seen}) != 1 or len({b.place for b in seen}) != 1 or facts.nonfinite:
        return
    losses = [b.loss for b in seen if b.loss is not None]
    first, last = sum(losses[:3]) / 3, sum(losses[-3:]) / 3
    moving = any(s.stale or s.has_closure for s in facts.steps) or _falls_steadily(losses)
    if not moving and min(losses[3:]) >= first - 1e-3 * abs(first):
        yield Hit(
            place=seen[0].place,
            message=f"On the same batch for {len(seen)} steps, the loss went from {first:.4g} to {last:.4g}: "
            "it did not fall",
            evidence=(Evidence("losses: " + ", ".join(f"{v:.4g}" for v in losses[:10])),),
            fix="First learn one batch by heart: check labels, learning rate, and that gradients reach the parameters.",
        )


def _falls_steadily(losses: list[float]) -> bool:
    """Tell whether a loss falls at almost every step, by more than rounding.

    >>> _falls_steadily([3.3, 3.2998, 3.2997, 3.2995]), _falls_steadily([3.3, 3.2, 3.4, 3.3])
    (True, False)
    """
    falls = sum(after < before for before, after in itertools.pairwise(losses))
    return falls >= 0.9 * (len(losses) - 1) and losses[0] - losses[-1] > _ROUNDING * abs(losses[0])
