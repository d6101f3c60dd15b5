"""Padding is counted in the loss.

What it finds:
    In the source: `.mean()` of `cross_entropy(..., ignore_index=i, reduction="none")`, which divides by the ignored
    positions, too; `(loss * mask).mean()` of a mask that is called by padding, tokens, completions or attention, or of
    a loss that is called by tokens, or beside a comment that gives it samples and steps, `(B, T)`; a cross-entropy
    without `ignore_index` of targets that the same function pads; `errors.mean()` as a loss beside `errors[mask]`, of a
    mask by lengths, that is only shown. In real steps:
    The model has an Embedding with padding_idx, more than 5 % of the targets are that token, and the loss does not
    ignore it; or they stand where the input is that token, and are one that no other target is, in a cross-entropy or
    in a mean of what `gather` picks. `trainworthy.probe` changes the model's output at positions that are padding with
    padding on both sides: the loss must not move.

Why:
    The mean is over padding too: the loss looks low, depends on how long the longest sample is, and the model learns to
    predict padding.

How sure:
    Sure of the share, and that the loss moved: nothing else was changed, and two equal runs were equal. Padding beside
    text is left alone by the probe: what is said there may be the prediction of a real token. Wrong if padding is to be
    predicted, for example as the end of a text.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.masked_means import means_over_padding
from trainworthy.check.static.padded_targets import padded_targets
from trainworthy.check.static.queries import CROSS_ENTROPY, NLL, once_per_place
from trainworthy.check.static.unmasked_means import means_beside_a_mask
from trainworthy.check.static.values import Instance, Tensor

BAD = """\
import torch

logits, targets = torch.rand(8, 10, requires_grad=True), torch.randint(10, (8,))
losses = torch.nn.functional.cross_entropy(logits, targets, ignore_index=0, reduction="none")
losses.mean().backward()  # <- TW253
"""

GOOD = """\
import torch

logits, targets = torch.rand(8, 10, requires_grad=True), torch.randint(10, (8,))
losses = torch.nn.functional.cross_entropy(logits, targets, ignore_index=0, reduction="none")
(losses.sum() / (targets != 0).sum().clamp(min=1)).backward()
"""

LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16, padding_idx=0)
        self.head = nn.Linear(16, 50)

    def forward(self, ids):
        return self.head(self.embed(ids))


model = Tagger()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    ids = torch.randint(1, 50, (4, 32))
    targets = (ids * 7) % 49 + 1
    ids[:, 20:], targets[:, 20:] = 0, 0
    loss = nn.functional.cross_entropy(model(ids).reshape(-1, 50), targets.reshape(-1))  # <- TW253
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16, padding_idx=0)
        self.head = nn.Linear(16, 50)

    def forward(self, ids):
        return self.head(self.embed(ids))


model = Tagger()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    ids = torch.randint(1, 50, (4, 32))
    targets = (ids * 7) % 49 + 1
    ids[:, 20:], targets[:, 20:] = 0, 0
    loss = nn.functional.cross_entropy(model(ids).reshape(-1, 50), targets.reshape(-1), ignore_index=0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

PROBE_BAD = """\
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
    losses.mean().backward()  # <- TW253
    optimizer.step()


found = tw.probe(step, ids)
"""
PROBE_GOOD = """\
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


@rule(code="TW253", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses that count padding in two steps; else what the probe measured."""
    found = [*_counted(facts), *_beside_padding(facts)]
    yield from found or _probed(facts)


def _probed(facts: LiveFacts) -> Iterator[Hit]:
    for probe in facts.probes:
        if probe.what == "padding-in-loss":
            yield Hit(
                place=probe.place,
                message=f"The loss moved from {probe.scale:.4g} by {probe.change:.3g} when only {probe.model}'s output "
                f"at padding was changed",
                evidence=(Evidence(f"padding is {probe.names[0]}; {probe.ratio or 0:.0%} of the positions changed"),),
                fix="cross_entropy(..., ignore_index=PADDING), or multiply by the mask and divide by its sum.",
            )


def _counted(facts: LiveFacts) -> Iterator[Hit]:
    for place in dict.fromkeys(t.place for t in facts.targets):
        found = [t for t in facts.targets if t.place == place and (t.padding_share or 0) > 0.05]
        if len({t.step for t in found}) >= 2:
            share = sum(t.padding_share or 0 for t in found) / len(found)
            yield Hit(
                place=place,
                message=f"{share:.0%} of the targets that count are the padding token {found[0].padding_idx}",
                evidence=(Evidence(f"padding_idx={found[0].padding_idx} of an Embedding of the model"),),
                fix=f"cross_entropy(..., ignore_index={found[0].padding_idx}).",
            )


def _beside_padding(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses whose targets are padded where the model's input is."""
    told = {t.place for t in facts.targets if (t.padding_share or 0) > 0.05}
    for place in dict.fromkeys(t.place for t in facts.padded_targets):
        found = [t for t in facts.padded_targets if t.place == place]
        if place not in told and len({t.step for t in found}) >= 2 and len({t.target for t in found}) == 1:
            yield Hit(
                place=place,
                message=f"{sum(t.share for t in found) / len(found):.0%} of the targets that count stand where the "
                f"input is padding, and are {found[0].target}, which no other target is",
                evidence=(Evidence(f"padding_idx={found[0].token} of an Embedding of the model"),),
                fix=f"cross_entropy(..., ignore_index={found[0].target}), or the mean of the others alone.",
            )


@rule(code="TW253", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at means of losses that leave positions out."""
    for call in once_per_place(analysis.calls("torch.Tensor.mean", "torch.mean")):
        value = call.owner if call.name == "torch.Tensor.mean" else call.argument(0, "input")
        others = len(call.node.args) + len(call.node.keywords) - (call.name == "torch.mean")
        if others or not isinstance(value, Tensor) or not value.loss or value.made_by is None:
            continue
        loss = value.made_by
        if loss.name in (*CROSS_ENTROPY, *NLL) and _leaves_out(loss):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the mean divides by the ignored positions, too",
                evidence=(Evidence("they are left out here", analysis.place(loss.node, loss.context)),),
                fix="Divide the sum by the number of targets that are not `ignore_index`.",
            )
    for loss, padding in padded_targets(analysis):
        yield Hit(
            place=analysis.place(loss.node, loss.context),
            message="the targets were padded, and the loss ignores none of them",
            evidence=(Evidence("they are padded here", analysis.place(padding)),),
            fix="Hand the padding over as `ignore_index`.",
        )
    for node, name in (*means_over_padding(analysis), *means_beside_a_mask(analysis)):
        yield Hit(
            place=analysis.place(node),
            message=f"the mean divides by all positions, those that `{name}` leaves out, too",
            fix="Divide the sum by the mask's sum: `(loss * mask).sum() / mask.sum().clamp(min=1)`.",
        )


def _leaves_out(loss: Call) -> bool:
    """Say whether a loss keeps every position and is told one target to ignore."""
    made = loss.owner.made_by if isinstance(loss.owner, Instance) else None
    options = made if loss.name.endswith("__call__") else loss
    return options is not None and options.constant(None, "reduction") == "none" and options.has(None, "ignore_index")
