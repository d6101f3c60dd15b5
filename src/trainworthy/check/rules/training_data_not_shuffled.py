"""Training data comes in the same order in every epoch.

What it finds:
    A `DataLoader` without `shuffle` and without a sampler, over a set of samples that a loop over epochs goes through
    and learns from: a training set of torchvision, a set of files, a class of the project, or what is named for
    training. In real steps: a loader without a sampler begins two epochs with the same batch, and steps are made with
    its batches in between.

Why:
    Batches hold the same samples in every epoch, and often of one class each, for many sets are sorted: SGD follows
    their order, and batch norm sees one class at a time.

How sure:
    A backward pass and a step are made with each batch, in a loop around the loader's. Silent where `shuffle` is given,
    be it False; where the data draws or shuffles itself, is generated, is one batch, comes as a stream, or is text read
    in order; where a hidden state goes from batch to batch; and where two loaders are read side by side. In real steps
    it is a hint: the batches are the same byte for byte, but that may be meant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.training_order import read_in_order

BAD = """\
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

train_set = datasets.ImageFolder("images/train", transforms.ToTensor())
loader = DataLoader(train_set, batch_size=64)  # <- TW506
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(10):
    for images, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

train_set = datasets.ImageFolder("images/train", transforms.ToTensor())
loader = DataLoader(train_set, batch_size=64, shuffle=True)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(10):
    for images, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
"""


@rule(code="TW506", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loaders that a training goes through."""
    if is_a_test(analysis.source) or not analysis.mentions("DataLoader"):
        return
    seen: set[ast.AST] = set()
    for call, loop in read_in_order(analysis):
        if call.node not in seen:
            seen.add(call.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the training data comes in the same order in every epoch",
                evidence=(Evidence("it is learned from here", analysis.place(loop.node.iter, loop.context)),),
                fix="Add `shuffle=True`, or a sampler that shuffles.",
            )


@rule(code="TW506", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loaders in order that a training goes through twice, and that begin with the same batch."""
    said = set()
    # The steps of a training lie between the batches of one epoch; those beside a validation do not.
    last = {(one.loader, one.epoch): one.step for one in facts.batches}
    for loader in facts.loaders:
        # A loader may be made anew for each epoch, and one line make that of the validation, too.
        here = {one.loader for one in facts.loaders if one.place == loader.place}
        opened = [one for one in facts.batches if one.loader in here and one.opening is not None]
        repeated = [
            a for a, b in combinations(opened, 2)
            if a.loader == loader.loader and a.opening == b.opening and last[a.loader, a.epoch] > a.step
        ]  # fmt: skip
        size, batch = loader.dataset_size, loader.batch_size
        if loader.sampler != "SequentialSampler" or not repeated or not size or not batch or size < 3 * batch:
            continue
        if loader.place in said:
            continue
        said.add(loader.place)
        yield Hit(
            place=loader.origin,
            severity="hint",
            message="two epochs of the training begin with the same batch: the data come in the same order",
            evidence=(Evidence(f"a SequentialSampler over {size:,} samples, {batch} a batch"),),
            fix="Add `shuffle=True`, or a sampler that shuffles.",
        )
