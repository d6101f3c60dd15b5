"""A random generator stored in the data set is copied into every worker.

What it finds:
    A DataLoader with two workers or more, no worker_init_fn, and a data set with an attribute that is a random
    generator (NumPy, random.Random, torch.Generator) or a method of one; so has an object of the program that the data
    set holds, as a transform.

Why:
    Each worker gets a copy in the same state, anew in each epoch: the same augmentations in the same order, for ever.

How sure:
    Sure of the copy. Harmless if the generator is not used in __getitem__, or is seeded there.
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
import random

from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __init__(self):
        self.random = random.Random(0)  # <- TW554

    def __len__(self):
        return 32

    def __getitem__(self, i):
        return torch.full((4,), float(i)) + self.random.random()


model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
for x in DataLoader(Noisy(), batch_size=4, num_workers=2):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
import random

from torch.utils.data import DataLoader, Dataset


class Noisy(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, i):
        return torch.full((4,), float(i)) + random.random()


model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
for x in DataLoader(Noisy(), batch_size=4, num_workers=2):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW554", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loaders with such a data set."""
    for loader in facts.loaders:
        if loader.num_workers >= 2 and loader.stored_generators and not loader.has_worker_init:
            yield Hit(
                place=loader.generator_set_at or loader.place,
                message=f"The data set keeps a random generator ({', '.join(loader.stored_generators)}); each of "
                f"{loader.num_workers} workers gets a copy in the same state",
                evidence=(Evidence("no worker_init_fn seeds it anew", loader.place),),
                fix="Use the global generators of random, NumPy and torch, which are seeded for each worker.",
            )
