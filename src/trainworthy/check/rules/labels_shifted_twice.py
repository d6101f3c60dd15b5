"""Labels are two tokens ahead of the inputs.

What it finds:
    More than 98 % of the targets equal the input two positions later, and not the next one.

Why:
    The data set shifts, and the model or the loss shifts again: the model learns to skip a token.

How sure:
    Sure of the match. It is wrong for a model that is meant to predict the token after the next one, as an extra head.
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
