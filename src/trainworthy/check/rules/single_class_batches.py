"""Batches hold one class each.

What it finds:
    At least five of the first ten batches of four samples or more hold a single class, at least two classes were seen,
    and a DataLoader reads the data in order.

Why:
    The data is sorted by class and not shuffled: the model forgets one class while it sees the next.

How sure:
    Sure of the labels.
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
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(96, 4), torch.arange(3).repeat_interleave(32))
for x, y in DataLoader(data, batch_size=8):
    loss = nn.functional.cross_entropy(model(x), y)  # <- TW552
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(96, 4), torch.arange(3).repeat_interleave(32))
for x, y in DataLoader(data, batch_size=8, shuffle=True):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW552", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses whose targets came so."""
    in_order = any(loader.sampler == "SequentialSampler" for loader in facts.loaders)
    for place in dict.fromkeys(t.place for t in facts.targets):
        found = [t for t in facts.targets if t.place == place][:10]
        single = [t for t in found if t.single_class]
        classes = frozenset[int]().union(*(t.classes for t in found))
        if in_order and len(single) >= 5 and len(classes) >= 2:
            yield Hit(
                place=place,
                message=f"{len(single)} of the first {len(found)} batches hold a single class; {len(classes)} "
                "classes were "
                "seen, and the DataLoader reads the data in order",
                fix="DataLoader(..., shuffle=True).",
            )
