"""The last batch holds one sample, and BatchNorm cannot train on it.

What it finds:
    A DataLoader that feeds the training, whose data set leaves one sample for the last batch, for a model with
    BatchNorm; in the source, a loop over `range(0, n, batch)` of known numbers that does so. `check --rehearse`
    rehearses again with batches of one sample, and shows the line that fails with it.

Why:
    `BatchNorm1d` raises "Expected more than 1 value per channel" at the end of the epoch; others normalise a sample by
    itself, and `squeeze()` loses the batch axis.

How sure:
    Sure of the sizes: the loader does not drop the last batch. Only looked at where a DataLoader's own batch size and
    sampler, or torch's `BatchSampler`, make the batches. An error where the step was seen to fail, else a warning; a
    hint if no norm is `BatchNorm1d`, as one picture has many values for each channel.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Const
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

size, batch = 65, 16
x, y = torch.randn(size, 4), torch.randint(0, 2, (size,))
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for start in range(0, size, batch):  # <- TW520
    loss = nn.functional.cross_entropy(model(x[start : start + batch]), y[start : start + batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

size, batch = 64, 16
x, y = torch.randn(size, 4), torch.randint(0, 2, (size,))
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for start in range(0, size, batch):
    loss = nn.functional.cross_entropy(model(x[start : start + batch]), y[start : start + batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
DRY_BAD = LIVE_BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(257, 4), torch.randint(0, 2, (257,)))
for step, (x, y) in enumerate(DataLoader(data, batch_size=8, shuffle=True)):  # <- TW520
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step == 9:
        break
"""
DRY_GOOD = LIVE_GOOD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(257, 4), torch.randint(0, 2, (257,)))
for x, y in DataLoader(data, batch_size=8, shuffle=True, drop_last=True):
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


_NORM = re.compile(r"^BatchNorm[123]d$")


@rule(code="TW520", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops over slices of the data that train a model with BatchNorm."""
    norms = sorted(word for word in analysis.source.words if _NORM.match(word))
    for iteration in analysis.iterations if norms else ():
        made = iteration.node.iter
        ends = analysis.call_at.get(made) if isinstance(made, ast.Call) else None
        if ends is None or ends.name != "builtins.range" or len(ends.args) != 3 or ends.starred:
            continue
        start, stop, step = (one.value if isinstance(one, Const) else None for one in ends.args)
        if start != 0 or not isinstance(stop, int) or not isinstance(step, int) or step < 2 or stop % step != 1:
            continue
        if stop > step and isinstance(iteration.node, ast.For) and _trains_on_slices(iteration.node, ends.node.args[2]):
            yield _hit(analysis.place(made, iteration.context), stop, step, norms[0])


def _trains_on_slices(loop: ast.For, size: ast.expr) -> bool:
    """Say whether a loop goes back through a loss, and takes slices that are as long as its step."""
    step = unparsed(size)
    ends = {unparsed(one.upper) for one in nodes_of(loop, ast.Slice) if one.upper is not None}
    start = unparsed(loop.target)
    sliced = bool(ends & {f"{start} + {step}", f"{step} + {start}"})
    guarded = any(isinstance(one, ast.Continue | ast.Break) for one in walk(loop))
    return sliced and not guarded and any(called(one) == "backward" for one in nodes_of(loop, ast.Call))


@rule(code="TW520", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield what the rehearsal with one sample showed; else look at the loaders that fed training steps."""
    failed = noted(tape, "last_batch")
    for note in failed:
        yield Hit(
            place=place_in(note, tape), severity="error",
            message=f"The last batch of an epoch has 1 sample instead of {note['size']}, and this fails with it",
            evidence=(Evidence(note["message"]),),
            fix="DataLoader(..., drop_last=True), or another batch size.",
        )  # fmt: skip
    if failed:
        return
    norms = [info for info in tape.model if info.class_name.startswith("BatchNorm")]
    for note in tape.notes.get("loading") or () if norms else ():
        size, batch = note.get("dataset_size"), note.get("batch_size")
        if size and batch and batch > 1 and size % batch == 1 and not note.get("drop_last"):
            yield _hit(Place(note["path"], note["line"]), size, batch, sorted(info.class_name for info in norms)[0])


@rule(code="TW520", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Look at the loaders that gave batches while the model was trained."""
    norms = {name for f in facts.forwards if f.training and f.grad for name in f.mode_layers if "BatchNorm" in name}
    for loader in facts.loaders if norms else ():
        size, batch = loader.dataset_size, loader.batch_size
        if size and batch and batch > 1 and size % batch == 1 and not loader.drop_last and loader.in_training:
            yield _hit(loader.origin, size, batch, sorted(norms)[0])


def _hit(place: Place, size: int, batch: int, norm: str) -> Hit:
    return Hit(
        place=place, severity=None if norm == "BatchNorm1d" else "hint",
        message=f"{size:,} samples in batches of {batch} leave one for the last batch, and the model has {norm}",
        fix="DataLoader(..., drop_last=True), or leave out what is left over.",
    )  # fmt: skip
