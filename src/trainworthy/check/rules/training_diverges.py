"""Loss and gradients grow from step to step.

What it finds:
    At each of five steps in a row the gradients are larger than before, in all a hundred times; and the loss at the end
    is ten times what it was, and the largest seen.

Why:
    The learning rate is too large for this model, or nothing bounds its activations. It ends in infinities, which a
    loss scaler or a clip may hide for long.

How sure:
    Sure of the numbers. Silent with several optimizers (an adversary's loss may grow), and for losses at or below 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=3.0)
for step in range(8):
    x = torch.randn(64, 4)
    loss = (model(x) - x[:, :1]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()  # <- TW339
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(8):
    x = torch.randn(64, 4) * 2**step
    loss = (model(x) - x[:, :1]).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW339", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield a run that blows up."""
    if len({s.optimizer for s in facts.steps}) != 1 or facts.nonfinite or len(facts.backwards) != len(facts.steps):
        return
    sizes = [s.gradient_size for s in facts.steps]
    losses = [b.loss for b in facts.backwards]
    for end in range(5, len(sizes)):
        run, seen = sizes[end - 5 : end + 1], losses[: end + 1]
        if any(v is None or not math.isfinite(v) or v <= 0 for v in (*run, *seen)):
            continue
        sound, known = [v for v in run if v is not None], [v for v in seen if v is not None]
        grows = all(b > a for a, b in pairwise(sound)) and sound[-1] >= 100 * sound[0]
        if grows and known[-1] >= 10 * known[-6] and known[-1] == max(known):
            yield Hit(
                place=facts.steps[end].place,
                message=f"In 5 steps the gradients grew {sound[-1] / sound[0]:.3g} times, and the loss went from "
                f"{known[-6]:.4g} to {known[-1]:.4g}",
                evidence=(Evidence("losses: " + ", ".join(f"{v:.4g}" for v in known[-6:])),),
                fix="Lower the learning rate, warm it up, or clip the gradients.",
            )
            return
