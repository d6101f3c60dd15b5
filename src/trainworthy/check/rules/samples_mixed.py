"""A sample's output depends on the other samples of the batch.

What it finds:
    In the source: a softmax over the axis whose size the source calls the batch: `x.view(time, batch, k)` and `dim=-2`,
    `b, k = x.shape` and `dim=0`; a log-softmax over dimension -2 of `view(-1, k)`; and a softmax over dimension 0 whose
    weights are summed over another (`attn @ v`, `einsum`), whose largest is taken along another, of the last step of
    each sample, or that a network returns whose input was flattened by sample. In real steps:
    A copy of the model is run twice in evaluation mode; the second time sample 0 is replaced by sample 1. Outputs of
    samples 1 and later move all the same.

Why:
    Usual causes are a view or reshape where a permute was meant, softmax over dimension 0, or a recurrent or attention
    layer without batch_first. The model trains, and its answers depend on who else is in the batch.

How sure:
    Sure that they moved. Only looked at if a DataLoader gave the batch, its size is in one dimension only, and two
    equal runs are equal. It is wrong for models that compare samples of a batch on purpose. In the source: sure of
    the axis. Silent about what is called a weight, advantage or assignment, which may be a share of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.batch_axis import softmaxes_over_samples

BAD = """\
import torch


def mixture(out, seq_len, bs, k):
    logits = out[:, :, :k].view(seq_len, bs, k)
    return torch.log_softmax(logits, dim=-2)  # <- TW150
"""
GOOD = """\
import torch


def mixture(out, seq_len, bs, k):
    logits = out[:, :, :k].view(seq_len, bs, k)
    return torch.log_softmax(logits, dim=-1)
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Sequential(nn.Linear(4, 16), nn.Softmax(dim=0), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(32, 4), torch.randint(3, (32,))), batch_size=8)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)  # <- TW150
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Softmax(dim=1), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(32, 4), torch.randint(3, (32,))), batch_size=8)
for x, y in loader:
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW150", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at softmaxes."""
    for call, axis, why in softmaxes_over_samples(analysis):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"the softmax goes over axis {axis}, but {why}: each depends on the others",
            fix="Take the axis of what is chosen from, mostly the last: `dim=-1`.",
        )


@rule(code="TW150", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for probe in facts.probes:
        # That the first axis is the batch may be a guess; the same data in every step may be one graph or series.
        if probe.batch_assumed and len({b.inputs_hash for b in facts.backwards}) < min(2, len(facts.backwards)):
            continue
        if probe.what == "samples-mixed":
            yield Hit(
                place=probe.began_at or probe.place,
                message=f"In evaluation mode, {probe.model}'s output for other samples moved by "
                f"{probe.change:.3g} when "
                "sample 0 was replaced by sample 1",
                evidence=(
                    Evidence(f"output {probe.shape}, largest value {probe.scale:.3g}, of this call", probe.place),
                ),
                fix="Look for view/reshape instead of permute, softmax(dim=0), or a layer without batch_first=True.",
            )
