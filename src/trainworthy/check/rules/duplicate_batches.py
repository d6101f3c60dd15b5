"""Workers give the same batches.

What it finds:
    Within an epoch of a DataLoader with several workers, at least two pairs of batches are equal, byte for byte, and
    not all of them are. Where each worker of an IterableDataset has an order of its own, as from a buffer that
    shuffles: a quarter of the samples of a worker came from another one, too.

Why:
    Each worker of an IterableDataset runs through all of the data unless it asks get_worker_info() for its part; a
    random generator stored in the data set is copied into each worker in the same state.

How sure:
    Sure that the batches are equal. Constant batches, and data of which every batch is the same, are not reported; nor
    are samples by themselves if a worker gives some of them twice, as one does that draws them at random.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_steps import Batch
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    def __iter__(self):  # <- TW553
        for i in range(32):
            yield torch.full((4,), float(i)) + torch.arange(4)


model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
for x in DataLoader(Stream(), batch_size=4, num_workers=2):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
for (x,) in DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4, num_workers=2):
    loss = model(x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW553", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loaders with two pairs of equal batches."""
    for key in dict.fromkeys((b.loader, b.epoch) for b in facts.batches):
        found = [b for b in facts.batches if (b.loader, b.epoch) == key and b.content is not None and not b.constant]
        kinds = {b.content for b in found}
        twice = len(found) - len(kinds)
        if found and twice >= 2 and len(kinds) >= 2:
            first = found[0]
            yield Hit(
                place=_cause(facts, first),
                message=f"{twice} of {len(found)} batches of an epoch are copies of others; the DataLoader has "
                f"{first.num_workers} workers" + (" on an IterableDataset" if first.is_iterable else ""),
                evidence=(Evidence(f"{len(kinds)} different batches, by their bytes"),),
                fix="In __iter__: info = get_worker_info(); each worker takes its part (islice(data, info.id, None, "
                "info.num_workers)). Draw random numbers from a generator that is made in the worker.",
            )
            return
    yield from _shared_samples(facts)


def _cause(facts: LiveFacts, batch: Batch) -> Place:
    """Return where the data set is gone through, if that is the user's function, or the loader was made."""
    loader = next((one for one in facts.loaders if one.loader == batch.loader), None)
    if loader is None:
        return batch.place
    return (loader.iterated_at if batch.is_iterable else None) or loader.origin


def _shared_samples(facts: LiveFacts) -> Iterator[Hit]:
    """Yield a loader whose workers, none of which gives a sample twice, give the same samples."""
    for key in dict.fromkeys((b.loader, b.epoch) for b in facts.batches if b.rows):
        found = [b for b in facts.batches if (b.loader, b.epoch) == key and b.rows]
        given: dict[int, list[int]] = {}
        for batch in found:
            given.setdefault(batch.index % batch.num_workers, []).extend(batch.rows)
        several = {worker: set(rows) for worker, rows in given.items()}
        twice = any(len(several[worker]) < len(rows) for worker, rows in given.items())
        for worker, rows in () if twice else several.items():
            shared = rows & set().union(*(other for at, other in several.items() if at != worker))
            if len(shared) >= max(8, len(rows) / 4):
                yield Hit(
                    place=_cause(facts, found[0]),
                    message=f"{len(shared)} of {len(rows)} samples of one worker came from another one, too, in the "
                    f"same epoch; the IterableDataset has {found[0].num_workers} workers",
                    fix="In __iter__: info = get_worker_info(); each worker takes its part (islice(data, info.id, "
                    "None, info.num_workers)).",
                )
                return
