"""Gradients of earlier steps are not cleared.

What it finds:
    For three steps in a row, nine tenths of an optimizer's gradients are the same tensors that the step before used,
    not cleared, with the new gradient added.

Why:
    The update is by the sum of all gradients since the beginning.

How sure:
    Sure: gradients are followed by identity and version, not by the order of lines. Accumulation (several backward
    passes, then one step) and a GAN whose other half is cleared later are not reported.
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
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(6):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()  # <- TW301
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for step in range(6):
    optimizer.zero_grad(set_to_none=step % 2 == 0)
    for micro in range(3):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        (nn.functional.cross_entropy(model(x), y) / 3).backward()
    optimizer.step()
"""


@rule(code="TW301", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield optimizers that do so in three steps."""
    for steps in facts.steps_by_optimizer():
        run = longest_run(steps, lambda s: s.stale > 0 and s.stale >= 0.9 * (s.trainable - len(s.without_gradient)))
        if len(run) >= 3:
            yield Hit(
                place=run[0].place,
                message=f"{run[0].optimizer_class} steps with gradients that the step before had used already, and that "
                "nobody cleared",
                evidence=(Evidence(f"{run[0].stale} of {run[0].trainable} parameters, {len(run)} steps in a row"),),
                fix="optimizer.zero_grad() before each new backward pass.",
            )
