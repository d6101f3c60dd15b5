"""The batch is flattened into the features of a layer.

What it finds:
    A `Linear` whose input has one axis, made in the same forward pass by flattening a tensor that begins with the batch
    of more than one sample.

Why:
    `torch.flatten(x)` starts at axis 0, where `nn.Flatten` starts at 1: the layer then sees one sample that is as
    wide as the batch, and the model only runs at that batch size.

How sure:
    Sure of the shapes of the step.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import batch_size, place_of
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(8 * 4 * 6 * 6, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x)))  # <- TW161


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(8, 1, 8, 8)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 6 * 6, 10)

    def forward(self, x):
        return self.fc(torch.flatten(self.conv(x), 1))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = torch.flatten(model(torch.rand(8, 1, 8, 8))).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_PRODUCTS = ("addmm", "mm", "mv", "addmv")


@rule(code="TW161", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Follow flattened tensors into products."""
    if not any(len(info.output_shape or (0, 0)) == 1 and info.class_name == "Linear" for info in tape.model):
        return
    size = batch_size(tape)
    if size is None or size < 2:
        return
    flat: dict[int, tuple[tuple[int, ...], Hit]] = {}
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase not in ("forward", "loss"):
            continue
        name = op.name.partition(".")[0]
        if name in ("view", "_unsafe_view", "reshape") and op.inputs and op.outputs:
            before, after = op.inputs[0], op.outputs[0]
            if len(after.shape) == 1 and len(before.shape) > 1 and before.shape[0] == size:
                hit = Hit(
                    place=place_of(op.source, tape),
                    message=f"{_text(before.shape)} is flattened to {_text(after.shape)}: the {size} samples "
                    f"become the "
                    "features of one",
                    fix="torch.flatten(x, 1), or nn.Flatten().",
                )
                flat[after.storage] = (after.shape, hit)
        elif name in _PRODUCTS:
            for tensor in op.inputs:
                shape, known = flat.get(tensor.storage, ((), None))
                if known is not None and tensor.shape in (shape, (1, *shape)) and op.module:
                    yield Hit(
                        place=known.place, message=known.message, fix=known.fix,
                        evidence=(Evidence(f"it goes into {op.module} here", place_of(op.source, tape)),),
                    )  # fmt: skip
                    del flat[tensor.storage]


def _text(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
