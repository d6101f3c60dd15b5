"""A checkpoint does not hold what memory held.

What it finds:
    After `torch.save` or `safetensors.torch.save_file`: tensors that changed while the file was being written, that
    read back differently from the file, bit by bit, or that are not the model's of the same name although others are;
    and files in which every parameter of the model is 0.

Why:
    A thread that saves while training goes on writes half of one step and half of the next; a buffer that is used for
    all tensors in turn holds the last; a bad disk, or a writer of one's own, corrupts. It shows when the checkpoint is
    needed.

How sure:
    Sure. Averaged or older weights differ from the model's in all that trains, and are not reported. The
    first three files of a look are read back, up to 256 MiB each.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule

BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
import io
import threading


class SlowDisk(io.BytesIO):
    def write(self, data):
        begun.set()
        stepped.wait(10)
        return super().write(data)


begun, stepped = threading.Event(), threading.Event()
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def save():
    torch.save(model.state_dict(), SlowDisk())  # <- TW630


for step in range(4):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    if step == 1:
        saving = threading.Thread(target=save)
        saving.start()
        begun.wait(10)
    optimizer.step()
    if step == 1:
        stepped.set()
        saving.join()
"""
GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
import io
import threading

model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    if step == 1:
        copied = {name: value.clone() for name, value in model.state_dict().items()}
        saving = threading.Thread(target=torch.save, args=(copied, io.BytesIO()))
        saving.start()
    optimizer.step()
saving.join()
"""


@rule(code="TW630", severity="error", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield files that are not what was to be saved."""
    for save in facts.saves:
        names = save.changed or save.wrong or save.other or save.zeroed
        if names:
            how = "changed while" if save.changed else "differ from memory after"
            if not (save.changed or save.wrong):
                how = "were not the model's when" if save.other else "were 0, and not in the model, when"
            yield Hit(
                place=save.place,
                message=f"{len(names)} of {save.num_tensors} tensors {how} {save.path} was written: {listed(names)}",
                fix="Save a copy (detach, clone, to the CPU) that nobody writes to, and wait until it is written."
                if save.changed
                else "Check the disk and what writes the file; write to a new name and rename it.",
            )
