"""A padding mask is the wrong way round: the model looks at padding, and not at the text.

What it finds:
    In evaluation mode, changing the tokens that are padding moves the outputs of the text, and changing a token of the
    text moves no output but its own.

Why:
    True means "may look" in the boolean mask of scaled_dot_product_attention and 1 does in Hugging Face's
    attention_mask; in nn.MultiheadAttention and nn.TransformerEncoder True means "may not". The model trains on its
    residual path alone.

How sure:
    Sure: both are measured on the model itself. Which positions are padding is taken from the batch: one end of the
    rows, one single token, told apart by the mask; where that is not clear nothing is done. A model that ignores its
    mask is told of by TW269.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
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
GOOD = BAD.replace("ids != 0)  # <- TW221", "ids == 0)")


@rule(code="TW221", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
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
