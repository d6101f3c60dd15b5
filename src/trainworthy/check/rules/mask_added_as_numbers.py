"""A mask of zeros and ones is added to the scores of attention, and hides nothing.

What it finds:
    `attn_mask` of `nn.MultiheadAttention` (or of the layers of a Transformer) is a floating-point tensor whose numbers
    are all 0 or 1, and both occur.

Why:
    A mask of bool says what is hidden; one of floating point is added to the scores. `torch.tril(torch.ones(n, n))`
    raises what may be seen by 1 and lets the future through: the model looks ahead, trains to a very low loss, and
    fails when it has to predict.

How sure:
    Sure of the numbers. Scores that are really to be raised by 1 in some places would look the same.
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


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        seen = torch.tril(torch.ones(x.shape[1], x.shape[1]))
        x, _ = self.attention(x, x, x, attn_mask=seen)  # <- TW275
        return self.head(x)


model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(4):
    loss = model(torch.randn(8, 5, 8)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace(
    "torch.tril(torch.ones(x.shape[1], x.shape[1]))", "~torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()"
).replace("  # <- TW275", "")


@rule(code="TW275", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield the lines that gave such a mask."""
    for place in dict.fromkeys(one.place for one in facts.added_masks):
        first = next(one for one in facts.added_masks if one.place == place)
        yield Hit(
            place=place,
            message=f"attn_mask {first.shape} is a float tensor of zeros and ones: it is added to the scores, and "
            "hides nothing",
            evidence=(Evidence(f"{first.ones:.0%} are 1, the others 0"),),
            fix="Give a mask of bool, in which True is hidden: `~seen.bool()`; or minus infinity at what is hidden.",
        )
