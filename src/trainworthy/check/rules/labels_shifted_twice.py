"""Labels are two tokens ahead of the inputs.

What it finds:
    More than 98 % of the targets equal the input two positions later, and not the next one. In the source: a call gives
    `x[:, :-1]` and `labels[:, 1:]` to a function of the project that computes a cross-entropy of its scores without the
    last position and these labels without the first.

Why:
    The data set shifts, and the model or the loss shifts again: the model learns to skip a token.

How sure:
    Sure of the match, and of the two shifts in the source. It is wrong for a model that is meant to predict the token
    after the next one, as an extra head.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.shifts import shifted_twice

BAD = """\
import torch.nn.functional as F


def next_token_loss(logits, labels):
    logits, labels = logits[:, :-1], labels[:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def training_step(model, ids):
    return next_token_loss(model(ids)[:, :-1], ids[:, 1:])  # <- TW251
"""
GOOD = """\
import torch.nn.functional as F


def next_token_loss(logits, labels):
    logits, labels = logits[:, :-1], labels[:, 1:]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def training_step(model, ids):
    return next_token_loss(model(ids), ids)
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class LanguageModel(nn.Module):
    def __init__(self, causal=True):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50)
        self.causal = causal

    def forward(self, ids):
        x = self.embed(ids)
        seen = x.cumsum(1) if self.causal else x.sum(1, keepdim=True) + x
        return self.head(torch.tanh(self.mix(seen)))


model = LanguageModel()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    tokens = torch.randint(50, (4, 32))
    ids, targets = tokens[:, :-2], tokens[:, 2:]
    logits = model(ids)
    loss = nn.functional.cross_entropy(logits.reshape(-1, 50), targets.reshape(-1))  # <- TW251
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class LanguageModel(nn.Module):
    def __init__(self, causal=True):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.mix = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50)
        self.causal = causal

    def forward(self, ids):
        x = self.embed(ids)
        seen = x.cumsum(1) if self.causal else x.sum(1, keepdim=True) + x
        return self.head(torch.tanh(self.mix(seen)))


model = LanguageModel()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    tokens = torch.randint(50, (4, 32))
    ids, targets = tokens[:, :-1], tokens[:, 1:]
    logits = model(ids)
    loss = nn.functional.cross_entropy(logits.reshape(-1, 50), targets.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW251", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses with that shift, unless another loss of the run has the right one."""
    for place in dict.fromkeys(t.place for t in facts.targets):
        found = [t.matches for t in facts.targets if t.place == place and t.matches is not None]
        right = any(t.matches is not None and t.matches[1] > 0.98 for t in facts.targets)
        if len(found) >= 2 and not right and all(m[2] > 0.98 and max(m[0], m[1], m[3]) < 0.5 for m in found):
            yield Hit(
                place=place,
                message=f"{found[0][2]:.0%} of the targets are the input token two positions later, "
                f"{found[0][1]:.0%} the next one: the labels are shifted twice",
                evidence=(Evidence(f"the same in {len(found)} steps"),),
                fix="Shift once: in the data set, or in the loss, not in both.",
            )


@rule(code="TW251", severity="error")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls whose arguments are shifted, of functions that shift them."""
    for call, label, shift, source in shifted_twice(analysis):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"`{label}` is shifted here, and once more in what is called: the labels are two tokens ahead",
            evidence=(Evidence("the second shift is here", source.place(shift)),),
            fix="Shift once: here, or in the loss, not in both.",
        )
