"""Batches hold one class each.

What it finds:
    At least five of the first ten batches of four samples or more hold a single class, at least two classes were seen,
    and a DataLoader reads the data in order. Without a DataLoader, two classes have to fill three batches in a row
    each. The targets of binary losses are looked at, too.

Why:
    The data is sorted by class and not shuffled: the model forgets one class while it sees the next.

How sure:
    Sure of the labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import LossTargets
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(96, 4), torch.arange(3).repeat_interleave(32))
for x, y in DataLoader(data, batch_size=8):  # <- TW552
    loss = nn.functional.cross_entropy(model(x), y)
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


_RUN = 3  # batches of one class, one after the other


@rule(code="TW552", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield losses whose targets came so."""
    in_order = next((loader for loader in facts.loaders if loader.sampler == "SequentialSampler"), None)
    given = [*facts.targets, *(t for t in facts.binary_targets if t.classes <= {0, 1})]
    for place in dict.fromkeys(t.place for t in given):
        found = [t for t in given if t.place == place][:10]
        single = [t for t in found if t.single_class]
        classes = frozenset[int]().union(*(t.classes for t in found))
        by_hand = not facts.loaders and len(_classes_in_runs(found)) >= 2
        if (in_order is not None or by_hand) and len(single) >= 5 and len(classes) >= 2:
            how = "each comes several times in a row" if in_order is None else "the DataLoader reads the data in order"
            yield Hit(
                place=in_order.made_at or place if in_order is not None else place,
                message=f"{len(single)} of the first {len(found)} batches hold a single class; {len(classes)} "
                f"classes were seen, and {how}",
                evidence=(Evidence("the loss that gets them", place),) if in_order is not None else (),
                fix="Shuffle the data: DataLoader(..., shuffle=True), or a new torch.randperm in each epoch.",
            )


def _classes_in_runs(found: list[LossTargets]) -> set[int]:
    """Return the classes that fill some batches of some steps in a row, a batch in each."""
    if len({t.step for t in found}) < len(found):
        return set()
    only = [next(iter(t.classes)) if t.single_class else None for t in found]
    runs = [(one, len(list(several))) for one, several in groupby(only)]
    return {one for one, count in runs if one is not None and count >= _RUN}
