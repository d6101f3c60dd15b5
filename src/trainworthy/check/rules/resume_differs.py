"""After saving and loading, training goes on differently.

What it finds:
    `trainworthy.probe` takes a step, saves, and takes another; then it begins anew, loads, and takes the other step
    again. Parameters, optimizer state or buffers are not equal to the last bit.

Why:
    The checkpoint leaves something out: the optimizer, a scheduler, a buffer that is not persistent, a tensor or a
    counter in a plain attribute. A run that is resumed is then another run.

How sure:
    Sure that they differ: the same step from the same state is equal otherwise, and random generators are put back
    before it, so that what they leave out is not counted. Named is what was not as before right after loading.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

SEEN_BY = "probe"
BAD = """\
import torch
from torch import nn
import trainworthy as tw

torch.manual_seed(0)
model = nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
batch = (torch.randn(8, 4), torch.randn(8, 1))


def step(batch):
    loss = nn.functional.mse_loss(model(batch[0]), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def save(path):
    torch.save(model.state_dict(), path)


def load(path):
    model.load_state_dict(torch.load(path))


found = tw.probe(step, batch, save=save, load=load)  # <- TW620
"""
GOOD = """\
import torch
from torch import nn
import trainworthy as tw

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters())
batch = (torch.randn(8, 4), torch.randn(8, 1))


def step(batch):
    loss = nn.functional.mse_loss(model(batch[0]), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def save(path):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)


def load(path):
    saved = torch.load(path)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])


found = tw.probe(step, batch, save=save, load=load)
"""


@rule(code="TW620", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe found."""
    for probe in facts.probes:
        if probe.what == "resume":
            yield Hit(
                place=probe.place,
                message=f"After saving and loading the next step differs; not as before: {listed(probe.names)}",
                evidence=(Evidence(f"{probe.change:.0f} states differ after the step"),),
                fix="Save and load all of it: model, optimizer, scheduler, scaler; register tensors as buffers.",
            )
