"""A loss or a gradient is not finite, and reached the optimizer.

What it finds:
    NaN or infinity in a loss or a gradient at optimizer.step(); the line is that of the first operation whose result
    was not finite. Masks of minus infinity are not taken for it.

Why:
    After such a step the parameters are lost.

How sure:
    Sure of the value. The birthplace is the first operation among those that the user's code and the layers of torch.nn
    call. A step that a GradScaler skips is not reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.rules.training_diverges import exploded

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x = torch.randn(8, 4)
    inside = model(x) - 5
    root = torch.log(inside)  # <- TW256
    loss = root.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
mask = torch.triu(torch.full((4, 4), float("-inf")), 1)
for step in range(4):
    x = torch.randn(4, 4)
    weights = (model(x) + mask).softmax(1)
    loss = (weights @ x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW256", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the first step that was so."""
    empty = {t.step for t in facts.targets if t.num_counted == 0}
    for fact in facts.nonfinite[:1]:
        said = fact.step in empty and len(empty) >= 2  # by TW255
        if fact.what == "loss" and (said or any(not math.isfinite(run[-1]) for _, run in exploded(facts))):  # by TW339
            return
        where = f" in {fact.module}" if fact.module else ""
        if fact.what == "loss":
            message = f"The loss of step {fact.step + 1} is {fact.value}"
        else:
            message = f"The loss of step {fact.step + 1} is finite, the gradient of {fact.value} is not"
        if fact.op and fact.in_backward:
            message += f"; it came out of {fact.op}, the backward pass of this line"
        elif fact.op and fact.op_inputs_finite:
            message += f"; its inputs were finite up to {fact.op}{where} here"
        elif fact.op:
            message += f"; the first NaN came out of {fact.op}{where} here, which was given infinities"
        elif fact.what == "loss" and fact.op is None:
            message += "; what this line was given was not finite already"
        yield Hit(
            place=fact.place, message=message,
            fix="Keep arguments of log, sqrt, division and exp in range (clamp, eps), or look at the data.",
        )  # fmt: skip
