"""The last batch of an epoch has one sample, and the step fails with it.

What it finds:
    The number of samples leaves one for the last batch, the loader keeps it, and a step with a batch of one sample
    fails, as BatchNorm does that has one value for each channel.

Why:
    The training ends with an exception at the end of its first epoch.

How sure:
    Sure: the script is rehearsed again with batches of one sample. Only looked at where a DataLoader's own batch size
    and sampler make the batches.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

SEEN_BY = "rehearsal"
BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

loader = DataLoader(TensorDataset(torch.rand(65, 4), torch.rand(65, 1)), batch_size=8)
model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1)).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    loss = nn.functional.mse_loss(model(x.cuda()), y.cuda())  # <- TW520
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("batch_size=8", "batch_size=8, drop_last=True").replace("  # <- TW520", "")


@rule(code="TW520", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield what the rehearsal with one sample showed."""
    for note in noted(tape, "last_batch"):
        yield Hit(
            place=place_in(note, tape),
            message=f"The last batch of an epoch has 1 sample instead of {note['size']}, and this fails with it",
            evidence=(Evidence(note["message"]),),
            fix="DataLoader(..., drop_last=True), or another batch size.",
        )
