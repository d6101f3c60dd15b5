"""`generate` makes more tokens than it was asked for.

What it finds:
    A call of a method or function `generate` with `max_new_tokens=N` during which the model ran more than N + 1 times.

Why:
    The limit was computed from a prompt that was cut afterwards, or is a total length where a number of new tokens was
    meant. Evaluation during training takes longer than planned, and runs over the model's context.

How sure:
    Sure of the count. Each run of the model gives at least one token; searches that look several times at each
    (assisted, contrastive) are left out.
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
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 10)

    def forward(self, ids):
        return self.table(ids)

    @torch.no_grad()
    def generate(self, ids, max_new_tokens):
        limit = ids.shape[1] + max_new_tokens
        ids = ids[:, -4:]
        while ids.shape[1] < limit:
            scores = self(ids)  # <- TW334
            ids = torch.cat([ids, scores[:, -1:].argmax(-1)], dim=1)
        return ids


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    ids = torch.randint(10, (8, 5))
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), torch.randint(10, (40,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()
model.generate(torch.randint(10, (1, 12)), max_new_tokens=3)
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(10, 10)

    def forward(self, ids):
        return self.table(ids)

    @torch.no_grad()
    def generate(self, ids, max_new_tokens):
        for _ in range(max_new_tokens):
            ids = torch.cat([ids, self(ids)[:, -1:].argmax(-1)], dim=1)
        return ids


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    ids = torch.randint(10, (8, 5))
    loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), torch.randint(10, (40,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    for _ in range(3):
        model.generate(torch.randint(10, (1, 12)), max_new_tokens=3)
    model.train()
"""


@rule(code="TW334", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield calls that made too many."""
    for fact in facts.generations:
        yield Hit(
            place=fact.place,
            message=f"generate(max_new_tokens={fact.asked}) ran {fact.model} {fact.made} times",
            fix="Count new tokens, not the whole length; compute the limit after the prompt is cut.",
        )
