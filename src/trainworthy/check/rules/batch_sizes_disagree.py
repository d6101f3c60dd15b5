"""One part of every batch holds a single sample.

What it finds:
    In each of three batches or more, some tensors have as many rows as the loader's batch, and another one with two
    axes or more has one.

Why:
    A processor that takes lists returned only its first item: it broadcasts, and every sample is trained with the
    data of the first.

How sure:
    Sure of the shapes. Constants that are handed on with a leading axis of 1 look the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit, Place
from trainworthy.check.live.facts import LiveFacts, Shape
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader


def collate(samples):
    ids = torch.stack([s["ids"] for s in samples[:1]])
    return {"x": torch.stack([s["x"] for s in samples]), "ids": ids}


data = [{"x": torch.randn(4), "ids": torch.randint(9, (5,))} for _ in range(40)]
left, right = nn.Linear(4, 4), nn.Embedding(9, 4)
optimizer = torch.optim.SGD([*left.parameters(), *right.parameters()], lr=0.1)
for batch in DataLoader(data, batch_size=8, collate_fn=collate):  # <- TW564
    loss = (left(batch["x"]) * right(batch["ids"]).mean(1)).sum(1).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader


def collate(samples):
    ids = torch.stack([s["ids"] for s in samples])
    return {"x": torch.stack([s["x"] for s in samples]), "ids": ids}


data = [{"x": torch.randn(4), "ids": torch.randint(9, (5,))} for _ in range(40)]
left, right = nn.Linear(4, 4), nn.Embedding(9, 4)
optimizer = torch.optim.SGD([*left.parameters(), *right.parameters()], lr=0.1)
for batch in DataLoader(data, batch_size=8, collate_fn=collate):
    loss = (left(batch["x"]) * right(batch["ids"]).mean(1)).sum(1).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW564", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loaders whose batches are so."""
    for loader in facts.loaders:
        batches = [b for b in facts.batches if b.loader == loader.loader]
        size = loader.batch_size or 0
        odd = [b for b in batches if size > 1 and _is_odd(b.shapes, size)]
        if len(odd) >= 3 and len(odd) >= len(batches) - 1:
            yield _hit(loader.place, size, odd[0].shapes)


@rule(code="TW564", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Look at the first batch of each loader that fed training steps."""
    for note in tape.notes.get("loading") or ():
        size, shapes = note.get("batch_size") or 0, tuple(map(tuple, note.get("shapes") or ()))
        if size > 1 and note.get("path") and note.get("batches", 0) >= 2 and _is_odd(shapes, size):
            yield _hit(Place(note["path"], note["line"]), size, shapes)


def _hit(place: Place, size: int, shapes: tuple[Shape, ...]) -> Hit:
    return Hit(
        place=place,
        message=f"batches of {size} hold a tensor with one row: {', '.join(map(str, shapes[:4]))}",
        fix="Look at the collate function or processor: does it take the whole list, and stack it?",
    )


def _is_odd(shapes: tuple[Shape, ...], size: int) -> bool:
    return any(s[:1] == (size,) for s in shapes) and any(len(s) >= 2 and s[0] == 1 for s in shapes)
