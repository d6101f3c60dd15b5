"""A padding mask is the wrong way round: the model looks at padding, and not at the text.

What it finds:
    In real steps: attention that is given a mask under which each position sees later ones alone, or under which all
    that is seen of the tokens is one single token at one end of the rows; also scores that are hidden so before their
    softmax. In evaluation mode, changing the tokens that are padding moves the outputs of the text, and changing a
    token of the text moves no output but its own. In the source: minus infinity is filled in on and below the
    diagonal, at what a name says is to be seen (`~to_remove`, `valid`), or where 0 is filled in at the other places
    after the softmax.

Why:
    True means "may look" in the boolean mask of scaled_dot_product_attention and 1 does in Hugging Face's
    attention_mask; in nn.MultiheadAttention and nn.TransformerEncoder True means "may not". The model trains on its
    residual path alone.

How sure:
    Sure: both are measured on the model itself. Which positions are padding is taken from the batch: one end of the
    rows, one single token, told apart by the mask; where that is not clear nothing is done. A model that ignores its
    mask is told of by TW269. In the source: sure, where the triangle is made of ones. Silent about what is reversed,
    and about masks that are arguments, which may mean either.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.hidden_places import hidden_for_seen

BAD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def forward(self, q, k, v):
        scores = q @ k.transpose(-2, -1)
        n = scores.size(-1)
        future = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(~future, float("-inf"))  # <- TW221
        return scores.softmax(dim=-1) @ v
"""
GOOD = BAD.replace('~future, float("-inf"))  # <- TW221', 'future, float("-inf"))')
LIVE_BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, ids, mask):
        x = self.embed(ids)
        return self.head(x + self.attend(x, x, x, key_padding_mask=mask, need_weights=False)[0])


model = Tagger()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ids = torch.randint(1, 30, (32, 12))
ids[:, 8:] = 0
targets = torch.randint(5, (32, 12)).masked_fill(ids == 0, -100)
for ids, targets in DataLoader(TensorDataset(ids, targets), batch_size=8):
    logits = model(ids, ids != 0)  # <- TW221
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = LIVE_BAD.replace("ids != 0)  # <- TW221", "ids == 0)")


@rule(code="TW221", severity="error")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is filled with minus infinity."""
    for node, why in hidden_for_seen(analysis):
        yield Hit(
            place=analysis.place(node),
            message=f"minus infinity hides what is to be seen: {why}",
            fix="Invert the mask: fill in what is to be hidden.",
        )


@rule(code="TW221", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured, and what masks hide that it could not be asked about."""
    measured = any(probe.what == "mask-inverted" for probe in facts.probes)
    for place in dict.fromkeys(one.place for one in facts.hidden_texts if one.what == "past" or not measured):
        fact = next(one for one in facts.hidden_texts if one.place == place)
        yield Hit(
            place=place,
            message=f"the mask {fact.shape} leaves "
            + ("each position the later ones alone: the past and itself are hidden" if fact.what == "past" else
               "padding alone: all of the text is hidden"),
            evidence=(Evidence(f"seen in {fact.operation}"),),
            fix="Invert the mask: True hides a position in nn.MultiheadAttention and nn.Transformer*, and shows it "
            "in scaled_dot_product_attention.",
        )  # fmt: skip
    for probe in facts.probes:
        if probe.what == "mask-inverted":
            yield Hit(
                place=probe.place,
                message=f"{probe.model} looks at padding and not at the text: its outputs moved by {probe.change:.3g} "
                "when padding was changed, and not at all when a token of the text was",
                evidence=(Evidence(f"the mask is {probe.names[0]!r}; output {probe.shape}, in evaluation mode"),),
                fix="Invert the mask: True hides a position in nn.MultiheadAttention and nn.Transformer*, and shows it "
                "in scaled_dot_product_attention.",
            )
