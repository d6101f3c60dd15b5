"""A squeeze without an axis drops the batch of the last batch.

What it finds:
    In a rehearsal: `squeeze()` without an axis on a tensor that begins with the batch, in a training whose loader
    leaves one sample for the last batch; and a line that is given one sample and several in the same step, and takes
    the first axis of the one. In real steps: a copy of the model, in evaluation mode, is given the first
    sample of a batch alone; a `squeeze()` removes one axis more than for the whole batch, and the result lacks the
    batch's axis, or the model fails.

Why:
    `squeeze()` removes every axis of size 1. For a batch of one that is the batch too: the prediction becomes a scalar,
    and the loss raises or broadcasts.

How sure:
    Sure of the sizes of the loader and of the tensor. In real steps it is an error if a loader leaves one sample for
    its last batch; otherwise a hint, which comes true when the model is asked about one sample.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import noted
from trainworthy.check.dry.rows import batch_size, place_of, rows
from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.tape.record import Source, Tape

BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(257, 4), torch.randn(257))
for x, y in DataLoader(data, batch_size=8):
    loss = (model(x).squeeze() - y).pow(2).mean()  # <- TW160
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
data = TensorDataset(torch.randn(257, 4), torch.randn(257))
for x, y in DataLoader(data, batch_size=8):
    loss = (model(x).squeeze(1) - y).pow(2).mean().squeeze()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory = nn.LSTM(4, 8, batch_first=True)
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        last = self.memory(x)[1][0].squeeze(0)
        return self.head(last).squeeze()  # <- TW160


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for x, y in DataLoader(TensorDataset(torch.randn(32, 5, 4), torch.randn(32)), batch_size=8):
    loss = (model(x) - y).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = LIVE_BAD.replace("squeeze()  # <- TW160", "squeeze(1)")


@rule(code="TW160", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Look at squeezes that do both in one step, then at those of the last batch, if that holds one sample."""
    yield from _sometimes_alone(tape)
    alone = [
        note for note in tape.notes.get("loading") or ()
        if note.get("dataset_size") and (note.get("batch_size") or 0) > 1 and not note.get("drop_last")
        and note["dataset_size"] % note["batch_size"] == 1
    ]  # fmt: skip
    if not alone or noted(tape, "last_batch"):  # then the line that fails is shown
        return
    size, note = batch_size(tape), alone[0]
    for row in rows(tape):
        if row.signature.name != "squeeze" or row.phase not in ("forward", "loss") or not row.signature.inputs:
            continue
        shape = row.signature.inputs[0].shape
        if size is not None and len(shape) > 1 and shape[0] == size == note["batch_size"]:
            rest = note["dataset_size"] // note["batch_size"]
            yield Hit(
                place=place_of(row.source, tape),
                message=f"squeeze() of {shape} keeps the batch, but not that of the last batch, which holds one sample",
                evidence=(Evidence(
                    f"{note['dataset_size']:,} samples are {rest} batches of {note['batch_size']} and one more",
                    Place(note["path"], note["line"]),
                ),),
                fix="Name the axis: squeeze(1) or squeeze(-1).",
            )  # fmt: skip


def _sometimes_alone(tape: Tape) -> Iterator[Hit]:
    """Yield lines whose squeeze keeps the first axis of some tensors, and takes that of one that is alone."""
    seen: dict[Source, list[tuple[int, ...]]] = {}
    for row in rows(tape):
        if row.signature.name == "squeeze" and row.phase in ("forward", "loss") and row.signature.inputs:
            seen.setdefault(row.source, []).append(row.signature.inputs[0].shape)
    for source, shapes in seen.items():
        alone = next((one for one in shapes if len(one) > 1 and one[0] == 1), None)
        several = next((one for one in shapes if alone is not None and one[0] > 1 and one[1:] == alone[1:]), None)
        if alone is not None and several is not None and max(alone) > 1:
            yield Hit(
                place=place_of(source, tape),
                message=f"squeeze() of {alone} takes the first axis, which it leaves to {several}",
                fix="Name the axis: squeeze(1) or squeeze(-1).",
            )


@rule(code="TW160", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield squeezes that took the batch's axis when a model was given one sample."""
    for fact in facts.alone:
        last = next(
            (one for one in facts.loaders if _leaves_one(one.dataset_size, one.batch_size, one.drop_last)), None
        )
        shows = fact.error or f"the model gives {fact.one} instead of {(1, *fact.several[1:])}"
        seen = [Evidence(f"with one sample, {shows}")]
        if last is not None:
            seen.append(Evidence(f"the last of {last.dataset_size:,} samples is alone in its batch", last.place))
        yield Hit(
            place=fact.place,
            severity="error" if last is not None else "hint",
            message=f"squeeze() of {fact.given} takes the batch's axis too when {fact.model} is given one sample",
            evidence=tuple(seen),
            fix="Name the axis: squeeze(1) or squeeze(-1).",
        )


def _leaves_one(size: int | None, batch: int | None, drop_last: bool) -> bool:
    return bool(size and batch and batch > 1 and not drop_last and size % batch == 1)
