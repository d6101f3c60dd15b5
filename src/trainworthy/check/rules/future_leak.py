"""A model that predicts the next token sees it.

What it finds:
    Targets are the inputs moved by one. In a copy of the model, in evaluation mode, the last token is changed; outputs
    at earlier positions move.

Why:
    The mask is missing or has the wrong polarity. The loss falls far too fast, and generation is nonsense.

How sure:
    Sure that they moved. Only looked at where more than 98 % of the targets are the next input token.
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


model = LanguageModel(causal=False)
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    tokens = torch.randint(50, (4, 32))
    ids, targets = tokens[:, :-1], tokens[:, 1:]
    logits = model(ids)  # <- TW250
    loss = nn.functional.cross_entropy(logits.reshape(-1, 50), targets.reshape(-1))
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


@rule(code="TW250", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for probe in facts.probes:
        if probe.what == "future-leak":
            yield Hit(
                place=probe.place,
                message=f"{probe.model} predicts the next token, and its outputs at earlier positions moved by "
                f"{probe.change:.3g} when only the last token was changed",
                evidence=(Evidence(f"output {probe.shape}, largest value {probe.scale:.3g}; in evaluation mode"),),
                fix="Mask the future: is_causal=True; in a boolean attn_mask of scaled_dot_product_attention "
                "True means "
                "'may look', in nn.MultiheadAttention it means 'may not'.",
            )
