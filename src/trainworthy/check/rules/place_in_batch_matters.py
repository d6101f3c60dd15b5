"""A sample's output depends on its place in the batch.

What it finds:
    A batch in another order, given to a copy of the model in evaluation mode, brings not the same outputs in that
    order. Everything that the model is given moves with the samples.

Why:
    An axis was mistaken: a position code is added along the batch, not along the sequence, or a recurrent layer that
    expects the sequence first runs from sample to sample. Training goes on; at inference a sample alone is in the first
    place, always.

How sure:
    Sure of the outputs, by three forward passes. Models that are random in evaluation mode, or that keep what they saw,
    are left out, and so are calls with arguments that do not belong to one sample each.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(30, 8), nn.Linear(8, 3)
        self.register_buffer("code", torch.randn(50, 1, 8))

    def forward(self, ids):
        x = self.embed(ids)
        x = x + self.code[: x.size(0)]
        return self.head(x.relu().mean(dim=1))


model = Reader()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randint(30, (48, 12)), torch.randint(3, (48,)))
for ids, targets in DataLoader(data, batch_size=8, shuffle=True):
    loss = nn.functional.cross_entropy(model(ids), targets)  # <- TW153
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("self.code[: x.size(0)]", "self.code[: x.size(1)].transpose(0, 1)").replace("  # <- TW153", "")


@rule(code="TW153", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for probe in facts.probes:
        if probe.what == "place-in-batch":
            yield Hit(
                place=probe.place,
                message=f"{probe.model}'s outputs depend on where in its batch a sample stands: with the batch "
                f"turned by one they move by {probe.change:.3g}",
                evidence=(Evidence(f"output {probe.shape}, largest value {probe.scale:.3g}, in evaluation mode"),),
                fix="Look for an axis that is taken for another: batch_first, x.size(0), a position code.",
            )
