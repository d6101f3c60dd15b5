"""A decoder ends a pixel short of what its encoder began with.

What it finds:
    A transposed convolution with a stride above 1 and no `output_padding` whose result is smaller than an input of the
    model, or the input of an earlier convolution with stride, by less than the stride. The same of `interpolate` by a
    factor after poolings, and of convolutions without a module, whose strides are told by their sizes.

Why:
    A convolution with stride maps several sizes to one, and the transposed one chooses the smallest of them. Skips and
    targets then have to be cropped, and edges are lost.

How sure:
    Certain of the sizes; a hint, because cropping may be meant.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.notes import made_at
from trainworthy.check.dry.rows import ModuleTable, place_of
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import ModuleInfo, Tape

BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1)  # <- TW165

    def forward(self, x):
        return self.up(self.down(x))


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


_UPSAMPLES = frozenset(
    "upsample_nearest1d upsample_linear1d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d "
    "upsample_bicubic2d upsample_nearest3d upsample_trilinear3d".split()
)
_FIX_SIZE = "interpolate(x, size=skip.shape[2:])."
_POOLS = ("max_pool2d_with_indices", "avg_pool2d", "max_pool3d_with_indices", "avg_pool3d")


@rule(code="TW165", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Compare what convolutions with stride and poolings take with what transposed ones and `interpolate` give."""
    known = ModuleTable(tape, "Conv")
    taken: set[tuple[int, ...]] = set()
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase not in ("forward", "loss") or not op.inputs or not op.outputs:
            continue
        name = op.name.partition(".")[0]
        before, made = op.inputs[0].shape[2:], op.outputs[0].shape[2:]
        if not before or len(before) != len(made):
            continue
        if name in _POOLS or (name == "convolution" and _goes_down(known.get(op.module), before, made)):
            taken.add(before)
            continue
        stride = _stride_up(known.get(op.module), name, before, made)
        short = [t for t in taken if len(t) == len(made) and t != made and all(
            0 <= a - b < s for a, b, s in zip(t, made, stride, strict=False)
        )]  # fmt: skip
        if short and stride and made not in taken:
            which = op.module if name == "convolution" and known.get(op.module) else "this"
            yield Hit(
                place=made_at(tape, op.module, op.source) if which == op.module else place_of(op.source, tape),
                message=f"{which} gives {_text(made)}, where the encoder took {_text(short[0])}",
                fix="interpolate(x, size=skip.shape[-2:])."
                if name in _UPSAMPLES
                else "output_padding=1, or pass output_size.",
            )


def _goes_down(info: ModuleInfo | None, before: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Say whether a convolution has a stride; one without a module, if it takes two thirds of the pixels or less."""
    if info is not None:
        return max(info.details.get("stride", (1,))) > 1 and "Transpose" not in info.class_name
    return all(3 * b <= 2 * a for a, b in zip(before, made, strict=True))


def _stride_up(info: ModuleInfo | None, name: str, before: tuple[int, ...], made: tuple[int, ...]) -> tuple[int, ...]:
    """Return by how much an operation makes its input larger, along each axis; nothing if it is another one."""
    grown = tuple(round(b / a) for a, b in zip(before, made, strict=True))
    if name in _UPSAMPLES:
        return grown if min(grown) > 1 and all(b == s * a for a, b, s in zip(before, made, grown, strict=True)) else ()
    if name != "convolution":
        return ()
    if info is None:  # 2n - 1 is what a kernel of 3 with padding makes of n
        near = all(abs(b - s * a) < s for a, b, s in zip(before, made, grown, strict=True))
        return grown if near and min(grown) > 1 else ()
    stride = tuple(info.details.get("stride", (1,)))
    given = any(info.details.get("output_padding", (0,)))
    return stride if "Transpose" in info.class_name and max(stride) > 1 and not given else ()


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
