"""A data set's samples change when they are taken.

What it finds:
    In a process of its own, a map-style data set is asked for its first samples twice, with the random generators in
    the same state, and they are collated in between: a sample differs the second time, and so does what is stored. Or
    what is stored differs, and the first sample is another in a later epoch than it would have been in the first.

Why:
    A transform, or a collate function, writes into the tensors, arrays or lists that the data set keeps: pixels are
    divided by 255 once more in each epoch, lists grow by their padding, and what was augmented once stays so. Workers
    hide it for an epoch, as each has a copy.

How sure:
    Sure that both differ: the data set is deterministic but for the random generators, and these are put back. Said of
    what is in memory only, up to 128 MB, and on Linux, where a process can be forked; values that are not there at
    first (a cache) are no change. Silent about data sets with a generator of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Pictures(Dataset):
    def __init__(self):
        self.pictures = torch.randint(256, (16, 12)).float()

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        picture = self.pictures[index]
        picture /= 255  # <- TW555
        return picture


model = nn.Linear(12, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(2):
    for x in DataLoader(Pictures(), batch_size=4):
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
GOOD = BAD.replace("picture /= 255  # <- TW555", "picture = picture / 255")


@rule(code="TW555", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the process showed."""
    for fact in facts.changed_samples:
        by = "taking a sample" if fact.by == "__getitem__" else "collating samples"
        yield Hit(
            place=fact.place,
            message=f"{by} changes the data that {fact.dataset} stores: taken again, {_part(fact.where)}",
            evidence=(
                Evidence(f"changed in place: {fact.dataset}{fact.stored}"),
                Evidence("the data set of this loader", fact.loader),
            ),
            fix="Copy before changing: `x = x / 255` rather than `x /= 255`; `.clone()`, `np.array(x)`, `list(x)`, "
            "`copy.deepcopy(x)`.",
        )


def _part(where: str) -> str:
    if where.isidentifier():
        return f"it raises {where}"
    return "it differs" if where == "the sample" else f"its {where} differs"
