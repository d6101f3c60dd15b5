"""No token that ends a text is ever a target.

What it finds:
    Causal language models whose ignored targets are a tail of one token that is never a target itself, in at least
    three rows of a batch, where the last targets before it have nothing in common; in two steps.

Why:
    If padding is the end token and all of it is masked (`labels[labels == pad] = -100`), the one real end of each
    text is masked with it: the model never learns to stop.

How sure:
    Sure of the targets. A hint: texts without an end token look the same, and may be meant.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(40, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 40)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0])


model = LM()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    ids = torch.randint(3, 40, (8, 16))
    for row in range(8):
        ids[row, 9 + row % 5 :] = 2
    labels = ids.masked_fill(ids == 2, -100)
    logits = model(ids)[:, :-1]
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())  # <- TW266
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(40, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 40)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0])


model = LM()
optimizer = torch.optim.Adam(model.parameters())
for step in range(4):
    ids = torch.randint(3, 40, (8, 16))
    labels = ids.clone()
    for row in range(8):
        end = 9 + row % 5
        ids[row, end:], labels[row, end:], labels[row, end] = 2, -100, 2
    logits = model(ids)[:, :-1]
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW266", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses that were so in two steps."""
    for place in dict.fromkeys(m.place for m in facts.masked_ends):
        found = [m for m in facts.masked_ends if m.place == place and m.distinct_last >= max(3, m.rows // 2)]
        if len({m.step for m in found}) >= 2:
            first = found[0]
            yield Hit(
                place=place,
                message=f"{first.rows} texts end in ignored tokens {first.token}, which are never a target, after "
                f"{first.distinct_last} different last targets: nothing that ends a text is learnt",
                fix="Mask by length, and keep one end token as a target.",
            )
