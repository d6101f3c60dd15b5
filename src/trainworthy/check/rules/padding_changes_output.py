"""Padding changes what a model says of a text.

What it finds:
    A model with an Embedding that has a `padding_idx`, given rows of which some end in it, whose output for whole
    rows moves when two more columns of padding are added, in evaluation mode. Or a model that is given a padding mask,
    whose outputs for the text move, nearly all of them, when what is padding is changed. Or a model that is given a
    mask or lengths, whose output for a whole row moves when its padding is changed, and is another one for the row
    alone, without its padding.

Why:
    The last state of a recurrent net, or the mean over all positions, is taken over padding too: what the model says
    depends on the longest text of the batch.

How sure:
    Sure of the outputs, by one or two more forward passes of a copy. A mask that is meant
    for the loss alone is not enough where positions see each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 8, padding_idx=0)
        self.rnn, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0][:, -1])


model = Reader()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    ids = torch.randint(1, 30, (8, 12))
    for row in range(8):
        ids[row, 5 + row :] = 0
    loss = nn.functional.cross_entropy(model(ids), torch.randint(2, (8,)))  # <- TW269
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 8, padding_idx=0)
        self.rnn, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, ids):
        out, last = self.rnn(self.embed(ids))[0], (ids != 0).sum(1) - 1
        return self.head(out[torch.arange(len(ids)), last])


model = Reader()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    ids = torch.randint(1, 30, (8, 12))
    for row in range(8):
        ids[row, 5 + row :] = 0
    loss = nn.functional.cross_entropy(model(ids), torch.randint(2, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW269", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for probe in facts.probes:
        if probe.what == "padding-matters":
            yield Hit(
                place=probe.place,
                message=f"{probe.model}'s output moves by {probe.change:.3g} when two more columns of padding "
                f"are added",
                evidence=(Evidence(f"output {probe.shape}, largest value {probe.scale:.3g}"),),
                fix="Take the state at the last real token, mask the mean, or pack_padded_sequence.",
            )
        elif probe.what == "mask-ignored":
            yield Hit(
                place=probe.place,
                message=f"{probe.model} is given {probe.names[0]!r} and sees padding all the same: outputs for the "
                f"text moved by {probe.change:.3g} when padding was changed",
                evidence=(Evidence(f"output {probe.shape}, largest value {probe.scale:.3g}, in evaluation mode"),),
                fix="Hand the mask to the attention, or pack_padded_sequence.",
            )
        elif probe.what == "padding-in-result":
            yield Hit(
                place=probe.place,
                message=f"{probe.model} is given {probe.names[0]!r} and counts padding all the same: its output for a "
                f"row moves by {probe.change:.3g} when the row comes alone, without padding",
                evidence=(Evidence(f"output {probe.shape}, largest value {probe.scale:.3g}, in evaluation mode"),),
                fix="Mask the mean, take the state at the last real token, or pack_padded_sequence.",
            )
