"""A data set holds a million Python objects, and workers copy them.

What it finds:
    A list, tuple, dict or set with at least a million entries in the data set of a loader with workers; entries
    that are lists, tuples or dicts count with what they hold, by the first of them.

Why:
    Workers share memory until they touch it, and reading a Python object writes its reference count: page by page
    every worker gets a copy, until memory is full.

How sure:
    Sure of the number, or nearly so where entries hold others. A hint: it depends on how much memory there is.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
class Lines(Dataset):
    def __init__(self):
        self.items = list(range(1_000_000))

    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.full((4,), float(self.items[index]))


model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for x in DataLoader(Lines(), batch_size=8, num_workers=1):  # <- TW563
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)
class Lines(Dataset):
    def __init__(self):
        self.items = torch.arange(1_000_000)

    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.full((4,), float(self.items[index]))


model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for x in DataLoader(Lines(), batch_size=8, num_workers=1):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW563", severity="hint", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield such loaders."""
    for loader in facts.loaders:
        for name, count in loader.large_containers[:1]:
            yield Hit(
                place=loader.origin,
                message=f"`{name}` of the data set holds {count:,} Python objects, and {loader.num_workers} "
                f"workers will "
                "each come to copy them",
                fix="A NumPy array, a tensor or an Arrow table instead.",
            )
