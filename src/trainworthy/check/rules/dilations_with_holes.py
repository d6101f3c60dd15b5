"""Dilated convolutions in a row that look at every other pixel only.

What it finds:
    Three convolutions or more, one after the other, with stride 1 and a kernel above 1, whose dilations have a common
    divisor above 1. Activations, norms, padding and skip connections between them do not end the row.

Why:
    The result at one pixel depends only on a grid of its neighbourhood: of dilation 2 thrice, on a quarter of the
    pixels. The output shows a checkerboard.

How sure:
    Certain for the chain. A hint, because a convolution without dilation before it softens the effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

from trainworthy.check.dry.notes import made_at
from trainworthy.check.dry.rows import ModuleTable
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.tape.record import ModuleInfo, Op, Tape, TensorInfo

BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=2, dilation=2)
        self.b = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.c = nn.Conv2d(4, 2, 3, padding=2, dilation=2)  # <- TW166

    def forward(self, x):
        x = self.b(self.a(x).relu()).relu()
        return self.c(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(2, 3, 16, 16)).pow(2).mean()
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
        self.a = nn.Conv2d(3, 4, 3, padding=1, dilation=1)
        self.b = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.c = nn.Conv2d(4, 2, 3, padding=3, dilation=3)

    def forward(self, x):
        x = self.b(self.a(x).relu()).relu()
        return self.c(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(2, 3, 16, 16)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

_LEAST = 3
_KEEPS = frozenset(
    "relu relu_ gelu silu silu_ leaky_relu leaky_relu_ native_batch_norm cudnn_batch_norm native_group_norm sigmoid "
    "tanh hardtanh hardtanh_ elu elu_ _prelu_kernel mish native_dropout detach alias constant_pad_nd clone".split()
)


class _Chain(NamedTuple):
    """The dilations of the convolutions in a row that lead from one tensor, told by its storage, to another."""

    origin: int
    dilations: tuple[int, ...] = ()

    def beside(self, other: _Chain) -> _Chain | None:
        """Return what is known of the sum of two: the one that sees more of what both come from."""
        if self.origin != other.origin:
            return None
        less, more = sorted((self, other), key=lambda one: len(one.dilations))
        return less if less.dilations and gcd(*less.dilations) < gcd(*more.dilations) else more


@rule(code="TW166", severity="hint", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Follow storages from convolution to convolution."""
    known = ModuleTable(tape, "Conv1d", "Conv2d", "Conv3d")
    if sum(_dilation(info) > 1 for info in known.values()) < 1:
        return
    chains: dict[int, _Chain] = {}
    said: set[str] = set()
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase != "forward" or not op.inputs or not op.outputs:
            continue
        name, storage = op.name.partition(".")[0], op.outputs[0].storage
        before = chains.get(op.inputs[0].storage) or _begin(op.inputs[0])
        if name in _KEEPS:
            chains[storage] = before
        elif name in ("add", "add_") and len(op.inputs) == 2 and op.inputs[0].shape == op.inputs[1].shape:
            skip = chains.get(op.inputs[1].storage) or _begin(op.inputs[1])
            chains[storage] = before.beside(skip) or _Chain(storage)
        elif name == "convolution":
            chain = chains[storage] = _next(before, known.get(op.module), op)
            step = gcd(*chain.dilations) if len(chain.dilations) >= _LEAST else 1
            if step > 1 and chain != before and op.module not in said:
                said.add(op.module)
                yield _hit(chain.dilations, step, op, tape)
        else:
            chains.pop(storage, None)


def _hit(dilations: tuple[int, ...], step: int, op: Op, tape: Tape) -> Hit:
    return Hit(
        place=made_at(tape, op.module, op.source),
        message=f"{len(dilations)} convolutions up to {op.module} see every {_nth(step)} pixel only: their "
        f"dilations are {', '.join(map(str, dilations))}",
        evidence=(Evidence(f"greatest common divisor {step}"),),
        fix="Dilations without a common divisor, such as 1, 2, 3.",
    )


def _begin(tensor: TensorInfo) -> _Chain:
    """Begin a row at a tensor; data is one origin, be it padded or not."""
    return _Chain(-1 if tensor.kind == "input" else tensor.storage)


def _next(chain: _Chain, info: ModuleInfo | None, op: Op) -> _Chain:
    if info is None or max(info.details.get("stride", (1,))) > 1:
        return _Chain(op.outputs[0].storage)
    if max(info.details.get("kernel_size", (1,))) == 1:
        return chain
    return _Chain(chain.origin, (*chain.dilations, _dilation(info)))


def _dilation(info: ModuleInfo) -> int:
    return int(max(info.details.get("dilation", (1,))))


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
