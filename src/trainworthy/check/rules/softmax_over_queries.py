"""Attention weights sum to 1 over the queries, not over the keys whose values are added up.

What it finds:
    A softmax of the scores of all positions with all positions, whose weights sum to 1 along one axis, while the
    product with the values sums along the other; or weights that sum to 1 over all samples of a batch together.
    Measured in one more forward pass of a copy.

Why:
    Each position is to take a weighted mean of the values. With the axes swapped it takes a sum whose weights may add
    up to anything: positions that nobody attends to vanish, others grow with the length. The model trains, worse.

How sure:
    Sure of the sums. Of one sample only square scores are looked at, a product of two tensors that the model computed:
    slots, clusters and capsules share every position among themselves on purpose. Fused attention has no softmax to
    see.
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


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.projections, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x):
        q, k, v = self.projections(x).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) * 8**-0.5).softmax(dim=1)  # <- TW224
        return self.head((weights @ v).mean(dim=1))


model = Attention()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(4, 10, 8)), torch.randint(3, (4,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("softmax(dim=1)  # <- TW224", "softmax(dim=2)")


@rule(code="TW224", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the probe measured."""
    for fact in facts.over_queries:
        n = fact.length
        over = f"of the {n} x {n} scores runs over the queries"
        if fact.samples > 1:
            over = f"of scores for {n} positions runs over all {fact.samples} samples of the batch"
        yield Hit(
            place=fact.place,
            message=f"the softmax {over}: its weights do not sum to 1 where values are added up",
            evidence=(Evidence(f"{fact.model}'s values are multiplied here", fact.used),),
            fix="Take the softmax over the keys, the axis that the product with the values sums over.",
        )
