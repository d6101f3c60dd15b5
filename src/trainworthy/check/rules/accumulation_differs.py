"""The gradient that is accumulated over parts of a batch is not that of the batch.

What it finds:
    `trainworthy.probe(..., accumulate=f)` calls f with the batch in one part and in two halves, and compares the
    gradients.

Why:
    Without a division by the number of parts the gradient is as many times as large, and so is the step of SGD or what
    clipping cuts. Where every part is divided by its own number of tokens, tokens of short parts weigh more.

How sure:
    Sure of the numbers: dropout layers are switched off, two equal runs are equal, and models with BatchNorm, whose
    parts differ from the whole by design, are left out. Sums instead of means may be meant; then the learning rate has
    to know.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

SEEN_BY = "probe"
BAD = """\
import torch
from torch import nn
import trainworthy as tw

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
batch = (torch.randn(8, 4), torch.randn(8, 1))


def accumulate(parts):
    optimizer.zero_grad()
    for x, y in parts:
        nn.functional.mse_loss(model(x), y).backward()  # <- TW322
    optimizer.step()


found = tw.probe(lambda batch: accumulate([batch]), batch, accumulate=accumulate)
"""
GOOD = """\
import torch
from torch import nn
import trainworthy as tw

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
batch = (torch.randn(8, 4), torch.randn(8, 1))


def accumulate(parts):
    optimizer.zero_grad()
    for x, y in parts:
        (nn.functional.mse_loss(model(x), y) / len(parts)).backward()
    optimizer.step()


found = tw.probe(lambda batch: accumulate([batch]), batch, accumulate=accumulate)
"""


@rule(code="TW322", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for probe in facts.probes:
        if probe.what == "accumulation":
            ratio = probe.ratio or 0.0
            summed = abs(ratio - 2) < 1e-2
            yield Hit(
                place=probe.place,
                message=f"Accumulated over two halves, the gradient is {ratio:.3g} times that of the whole batch, and "
                f"{probe.change / probe.scale:.2g} of its length away",
                evidence=(Evidence(f"length of the gradient of the whole batch: {probe.scale:.4g}"),),
                fix="Divide each loss by the number of parts."
                if summed
                else "Sum the losses of all parts and divide by the number of tokens (or samples) of the whole batch.",
            )
