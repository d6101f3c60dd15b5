"""Loss and gradients grow from step to step.

What it finds:
    At each of five steps in a row the gradients are larger than before, in all a hundred times; and the loss at the end
    is ten times what it was, and the largest seen. Or the loss of one line grows in four steps in a row or more, to a
    thousand times what it was, or until it is not finite after growing tenfold.

Why:
    The learning rate is too large for this model, or nothing bounds its activations. It ends in infinities, which a
    loss scaler or a clip may hide for long.

How sure:
    Sure of the numbers. Losses without a trend, as of adversaries, do not grow like this. Silent for losses at or
    below 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from trainworthy.check.finding import Evidence, Hit, Place
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
    loss.backward()  # <- TW339
    optimizer.step()
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
    """Yield the run that blows up, or else the lines whose loss does."""
    blown = next(_blown_up(facts), None)
    if blown is not None:
        yield blown
        return
    for place, run in exploded(facts):
        rates = sorted({s.learning_rate for s in facts.steps if s.learning_rate})
        shown = f", at a learning rate of {rates[-1]:.3g}" if rates else ""
        yield Hit(
            place=place,
            message=f"The loss grew from {run[0]:.3g} to {run[-1]:.3g} in {len(run) - 1} steps{shown}",
            evidence=(Evidence("losses: " + ", ".join(f"{v:.3g}" for v in run[:10])),),
            fix="A tenth of the learning rate, warm-up, or clip_grad_norm_.",
        )


def exploded(facts: LiveFacts) -> Iterator[tuple[Place, list[float]]]:
    """Yield lines whose loss grew far without a break, with the losses."""
    for place in dict.fromkeys(b.place for b in facts.backwards):
        run = _growth([b.loss for b in facts.backwards if b.place == place and b.loss is not None])
        if run:
            yield place, run


def _blown_up(facts: LiveFacts) -> Iterator[Hit]:
    """Yield where gradients and loss have grown for five steps."""
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
                place=facts.backwards[end].place,
                message=f"In 5 steps the gradients grew {sound[-1] / sound[0]:.3g} times, and the loss went from "
                f"{known[-6]:.4g} to {known[-1]:.4g}",
                evidence=(Evidence("losses: " + ", ".join(f"{v:.4g}" for v in known[-6:])),),
                fix="Lower the learning rate, warm it up, or clip the gradients.",
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
