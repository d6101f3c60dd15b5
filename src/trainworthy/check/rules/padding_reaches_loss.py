"""What the model says about padding changes the loss.

What it finds:
    `trainworthy.probe` changes the model's output at positions that are padding with padding on both sides, and the
    loss moves.

Why:
    The loss is a mean over padding too: it looks low, depends on the longest sample of the batch, and the model learns
    to predict padding.

How sure:
    Sure that it moved: nothing else was changed, and two equal runs were equal. Padding is the `padding_idx` of the
    model's only such embedding, or what was said to the probe. Padding beside text is left alone: what is said there
    may be the prediction of a real token. Wrong if padding is to be predicted.
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
model = nn.Sequential(nn.Embedding(30, 8, padding_idx=0), nn.Linear(8, 30))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ids = torch.randint(1, 30, (4, 12))
ids[:2, 6:] = 0


def step(ids):
    logits = model(ids[:, :-1])
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    optimizer.zero_grad()
    losses.mean().backward()  # <- TW220
    optimizer.step()


found = tw.probe(step, ids)
"""
GOOD = """\
import torch
from torch import nn
import trainworthy as tw

torch.manual_seed(0)
model = nn.Sequential(nn.Embedding(30, 8, padding_idx=0), nn.Linear(8, 30))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ids = torch.randint(1, 30, (4, 12))
ids[0, :6], ids[1, 6:] = 0, 0


def step(ids):
    logits = model(ids[:, :-1])
    losses = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    kept = ids[:, 1:] != 0
    optimizer.zero_grad()
    (losses * kept).sum().div(kept.sum()).backward()
    optimizer.step()


found = tw.probe(step, ids)
"""


@rule(code="TW220", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for probe in facts.probes:
        if probe.what == "padding-in-loss":
            yield Hit(
                place=probe.place,
                message=f"The loss moved from {probe.scale:.4g} by {probe.change:.3g} when only {probe.model}'s output "
                f"at padding was changed",
                evidence=(Evidence(f"padding is {probe.names[0]}; {probe.ratio or 0:.0%} of the positions changed"),),
                fix="cross_entropy(..., ignore_index=PADDING), or multiply by the mask and divide by its sum.",
            )
