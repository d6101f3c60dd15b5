"""A collate function leaves all samples but the first out of a tensor.

What it finds:
    In two batches or more: a tensor of one row beside others that have a row for each sample, which is equal to what
    the collate function gives for the first sample alone, and not to what it gives for the second.

Why:
    A list where single items were meant, or the other way round: a processor takes fifty prompts for one, and the
    batch has one text beside fifty images. Broadcasting hides it.

How sure:
    Sure: the function is asked again with one sample, only where a batch looks like that. Not looked at in loaders with
    workers, nor with probe=False.
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
GOOD = """\
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
