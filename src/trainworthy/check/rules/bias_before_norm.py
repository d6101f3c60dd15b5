"""A bias that the next layer subtracts again.

What it finds:
    A convolution or linear layer with a bias whose result goes straight into a BatchNorm.

Why:
    BatchNorm subtracts the mean of each channel, and with it the bias: the parameter has no effect, costs memory and a
    reduction in the backward pass.

How sure:
    Certain for layers in training mode. Off by default: it costs little, changes no result, and checkpoints hold the
    parameter.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import made_at
from trainworthy.check.finding import Hit, Place
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))  # <- TW761
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(4, 3, 8, 8)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

model = nn.Sequential(
    nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.BatchNorm2d(4),
    nn.Flatten(), nn.Linear(64, 2),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(4, 3, 8, 8)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_NORMS = ("native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit", "miopen_batch_norm")


@rule(code="TW761", severity="hint", depth="dry", default=False)
def find(tape: Tape) -> Iterator[Hit]:
    """Follow results of layers with a bias."""
    if not any(info.class_name.startswith(("BatchNorm", "SyncBatchNorm")) for info in tape.model):
        return
    biased: dict[int, tuple[str, int]] = {}  # by storage: the layer, and how many biases it has
    said: set[Place] = set()
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase != "forward" or not op.outputs:
            continue
        name = op.name.partition(".")[0]
        kinds = [(len(t.shape), t.kind) for t in op.inputs]
        if name == "convolution" and kinds[2:3] == [(1, "parameter")]:
            biased[op.outputs[0].storage] = (op.module, op.inputs[2].shape[0])
        elif name == "addmm" and kinds[:1] == [(1, "parameter")]:
            biased[op.outputs[0].storage] = (op.module, op.inputs[0].shape[0])
        elif name in _NORMS and op.inputs:
            found = biased.pop(op.inputs[0].storage, None)
            # Of a result that is viewed as pictures, each pixel has a bias of its own, and the norm one for a channel.
            if found is None or found[1] != op.inputs[0].shape[1]:
                continue
            place = made_at(tape, found[0], op.source)
            if place not in said:
                said.add(place)
                yield Hit(
                    place=place,
                    message=f"the bias of {found[0]} goes into {op.module}, which subtracts it again",
                    fix="bias=False.",
                )
        elif op.outputs[0].storage in biased and name not in ("view", "detach", "alias", "unsqueeze", "squeeze"):
            biased.pop(op.outputs[0].storage)
