"""The targets of a causal model are its own inputs.

What it finds:
    More than 98 % of the targets equal the input at the same position, nothing is masked but ends of rows, and the loss
    falls towards copying; also in a loss of an evaluation, which then says nothing of the next token.

Why:
    A model that sees the token can copy it; nothing is learnt about the next one.

How sure:
    Sure of the match. Silent for models whose inputs are masked or corrupted, as theirs differ from the targets.
    An autoencoder of tokens is meant to be so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

if TYPE_CHECKING:
    from trainworthy.check.live.facts_steps import LossTargets

BAD = """\
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
    ids, targets = tokens[:, :-1], tokens[:, :-1]
    logits = model(ids)
    loss = nn.functional.cross_entropy(logits.reshape(-1, 50), targets.reshape(-1))  # <- TW252
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
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


@rule(code="TW252", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses without a shift."""
    yield from _unshifted(facts.targets, "steps")
    yield from _unshifted(facts.evaluated_targets, "losses of the evaluation")


def _unshifted(targets: list[LossTargets], where: str) -> Iterator[Hit]:
    for place in dict.fromkeys(t.place for t in targets):
        found = [t for t in targets if t.place == place and t.matches is not None]
        matches = [t.matches for t in found if t.matches is not None]
        whole = all(t.num_counted == t.num_targets or t.ignored_at_end for t in found)
        if len(found) >= 2 and whole and all(m[0] > 0.98 and max(m[1:]) < 0.5 for m in matches):
            yield Hit(
                place=place,
                message=f"{matches[0][0]:.0%} of the targets are the input token at the same position",
                evidence=(Evidence(f"the same in {len(found)} {where}; no target is ignored but at the end"),),
                fix="For next-token prediction: logits[:, :-1] against ids[:, 1:].",
            )
