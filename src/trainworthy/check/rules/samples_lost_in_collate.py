"""A collate function leaves all samples but the first out of a tensor.

What it finds:
    In two batches or more: a tensor of one row beside others that have a row for each sample, which is equal to what
    the collate function gives for the first sample alone, and not to what it gives for the second. On a rehearsal, and
    where workers collate: a tensor of two axes or more with one row beside others that have a row for each sample. In
    three steps or more: a model is given one row of tokens, another one each time, beside a row of something else for
    each of the texts in the batch; or it is given one sample, and its one result meets several different targets. In
    the source: answers to one batch that were drawn in a loop, joined by `torch.cat` and averaged over the first axis,
    from which hits are counted.

Why:
    A list where single items were meant, or the other way round: a processor takes fifty prompts for one, and the
    batch has one text beside fifty images. Broadcasting hides it. `cat` puts the samples of all draws in one row, where
    `stack` gives the draws an axis: the mean is one answer for all samples.

How sure:
    Sure: the function is asked again with one sample, only where a batch looks like that. Not looked at in loaders with
    workers, nor with probe=False. From shapes alone it is a hint: constants that are handed on with a leading axis of 1
    look the same. Draws of a single sample are joined rightly: the hits show that there are more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.joined_draws import joined_draws
from trainworthy.tape.record import Tape

if TYPE_CHECKING:
    from trainworthy.check.live.facts_steps import Shape

BAD = """\
import torch


def accuracy(net, x, y, draws=20):
    probs = []
    for _ in range(draws):
        probs.append(net(x).softmax(-1))
    mean = torch.cat(probs).mean(dim=0)  # <- TW530
    return (mean.argmax(-1) == y).float().mean()
"""
GOOD = """\
import torch


def accuracy(net, x, y, draws=20):
    probs = []
    for _ in range(draws):
        probs.append(net(x).softmax(-1))
    mean = torch.stack(probs).mean(dim=0)
    return (mean.argmax(-1) == y).float().mean()
"""
DRY_BAD = """\
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
for batch in DataLoader(data, batch_size=8, collate_fn=collate):  # <- TW530
    loss = (left(batch["x"]) * right(batch["ids"]).mean(1)).sum(1).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
DRY_GOOD = """\
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
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader


def collate(samples):  # <- TW530
    images = torch.stack([image for image, _ in samples])
    texts = [text for _, text in samples]
    return images, torch.stack(texts[:1])


data = [(torch.randn(6), torch.randint(10, (6,))) for _ in range(32)]
model = nn.Linear(6, 6)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for images, texts in DataLoader(data, batch_size=8, collate_fn=collate):
    loss = (model(images) * texts).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
from torch.utils.data import DataLoader


def collate(samples):
    images = torch.stack([image for image, _ in samples])
    positions = torch.arange(6)[None]
    packed = torch.cat([text for _, text in samples])[None]
    return images, positions, packed, torch.stack([text for _, text in samples])


data = [(torch.randn(6), torch.randint(10, (6,))) for _ in range(32)]
model = nn.Linear(6, 6)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for images, positions, packed, texts in DataLoader(data, batch_size=8, collate_fn=collate):
    loss = (model(images) * texts).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW530", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Look at the first batch of each loader that fed training steps."""
    for note in tape.notes.get("loading") or ():
        size, shapes = note.get("batch_size") or 0, tuple(map(tuple, note.get("shapes") or ()))
        if size > 1 and note.get("path") and note.get("batches", 0) >= 2 and _is_odd(shapes, size):
            yield _hit(Place(note["path"], note["line"]), size, shapes)


def _hit(place: Place, size: int, shapes: tuple[Shape, ...]) -> Hit:
    return Hit(
        place=place,
        severity="hint",
        message=f"batches of {size} hold a tensor with one row: {', '.join(map(str, shapes[:4]))}",
        fix="Look at the collate function or processor: does it take the whole list, and stack it?",
    )


def _is_odd(shapes: tuple[Shape, ...], size: int) -> bool:
    return any(s[:1] == (size,) for s in shapes) and any(len(s) >= 2 and s[0] == 1 for s in shapes)


@rule(code="TW530", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield collate functions that drop samples."""
    for fact in facts.collated:
        yield Hit(
            place=fact.place,
            message=f"{fact.function} was given {fact.samples} samples, and {fact.where} of the batch, "
            f"{fact.shape}, holds the first only; another tensor has {fact.other_shape}",
            fix="Give each sample its row: check what the processor takes as a list.",
        )
    yield from _alone(facts)
    for loader in facts.loaders:
        batches = [b for b in facts.batches if b.loader == loader.loader]
        size = loader.batch_size or 0
        odd = [b for b in batches if size > 1 and _is_odd(b.shapes, size)]
        if loader.num_workers and len(odd) >= 3 and len(odd) >= len(batches) - 1:
            yield _hit(loader.origin, size, odd[0].shapes)


def _alone(facts: LiveFacts) -> Iterator[Hit]:
    """Yield places where another single row stands beside several in each of three steps."""
    for place in dict.fromkeys(one.place for one in facts.lone_rows):
        found = [one for one in facts.lone_rows if one.place == place]
        if len({one.step for one in found}) >= 3 and len({one.content for one in found}) >= 3:
            first = found[0]
            what = f"texts in the batch, and the model is given one row of tokens, {first.shape}, beside as many others"
            if not first.of_texts:
                what = f"targets meet one result of a model that is given one sample, {first.shape}"
            yield Hit(
                place=place,
                severity="hint",
                message=f"{first.count} {what}, in each of {len({one.step for one in found})} steps",
                fix="Look at the processor: does it take the whole list, or its first item?",
            )


@rule(code="TW530", severity="error")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at draws that are joined end to end."""
    for cat, mean in joined_draws(analysis):
        yield Hit(
            place=analysis.place(cat),
            message="the draws are joined end to end, and the mean over axis 0 is over samples too",
            evidence=(Evidence("the mean is here", analysis.place(mean)),),
            fix="torch.stack(draws), which gives the draws an axis of their own.",
        )
