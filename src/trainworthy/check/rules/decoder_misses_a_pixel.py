"""A decoder ends a pixel short of what its encoder began with.

What it finds:
    A transposed convolution with a stride above 1 and no `output_padding` whose result is smaller than an input of the
    model, or the input of an earlier convolution with stride, by less than the stride.

Why:
    A convolution with stride maps several sizes to one, and the transposed one chooses the smallest of them. Skips and
    targets then have to be cropped, and edges are lost.

How sure:
    Certain of the sizes; a hint, because cropping may be meant.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import ModuleTable, place_of
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1)

    def forward(self, x):
        return self.up(self.down(x))  # <- TW165


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x = torch.rand(4, 1, 28, 28)
    loss = (model(x) - x[..., :27, :27]).pow(2).mean()
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
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x):
        return self.up(self.down(x))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    x = torch.rand(4, 1, 28, 28)
    loss = (model(x) - x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW165", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Compare what convolutions with stride take with what transposed ones give."""
    known = ModuleTable(tape, "Conv")
    if not any("Transpose" in info.class_name for info in known.values()):
        return
    taken: set[tuple[int, ...]] = set()
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase != "forward" or op.name.partition(".")[0] != "convolution":
            continue
        info = known.get(op.module)
        stride = info.details.get("stride", (1,)) if info is not None else (1,)
        if info is None or max(stride) < 2:
            continue
        if "Transpose" not in info.class_name:
            taken.add(op.inputs[0].shape[2:])
            continue
        made = op.outputs[0].shape[2:]
        short = [t for t in taken if len(t) == len(made) and t != made and all(
            0 <= a - b < s for a, b, s in zip(t, made, stride, strict=False)
        )]  # fmt: skip
        if short and made not in taken and not any(info.details.get("output_padding", (0,))):
            yield Hit(
                place=place_of(op.source, tape),
                message=f"{op.module} gives {_text(made)}, where the encoder took {_text(short[0])}",
                fix="output_padding=1, or pass output_size.",
            )


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
