"""A softmax over an axis of size one.

What it finds:
    `Softmax(dim=-1)` of what `Linear(..., 1)` returns, in `Sequential` or in `forward`; also `dim=2`, which is the last
    axis of a sequence.

Why:
    The softmax of one number is 1, whatever the number: the weights before it get no gradient. Attention meant to be
    over time, and a binary classifier with one output, are written so by mistake.

How sure:
    The layer and the axis are found in the source, with nothing in between. Silent about `dim=1`, which may be time.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.values import Instance, Tensor

BAD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, x):
        weights = torch.softmax(self.score(x), dim=-1)  # <- TW217
        return (weights * x).sum(1)
"""

GOOD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, x):
        weights = torch.softmax(self.score(x), dim=1)
        return (weights * x).sum(1)
"""

_LAST = (-1, 2)


@rule(code="TW217", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at softmaxes right after a layer with one output."""
    functions = ("torch.softmax", "torch.nn.functional.softmax", "torch.log_softmax", "torch.nn.functional.log_softmax")
    for call in once_per_place(analysis.calls(*functions)):
        yield from _of_one(analysis, call, call.argument(0, "input"), call.constant(1, "dim"))
    for call in once_per_place(analysis.calls("torch.Tensor.softmax", "torch.Tensor.log_softmax")):
        yield from _of_one(analysis, call, call.owner, call.constant(0, "dim"))
    for call in once_per_place(analysis.calls("torch.nn.Softmax.__call__", "torch.nn.LogSoftmax.__call__")):
        made = call.owner.made_by if isinstance(call.owner, Instance) else None
        if made is not None:
            here = made if made.context.source is analysis.source else call
            yield from _of_one(analysis, call, call.argument(0, "input"), made.constant(0, "dim"), here)
    yield from _in_a_row(analysis)


def _of_one(analysis: Analysis, call: Call, value: object, axis: object, here: Call | None = None) -> Iterator[Hit]:
    made = value.made_by if isinstance(value, Tensor) and value.activation is None else None
    layer = made.owner if made is not None else None
    if (
        axis in _LAST
        and not isinstance(axis, bool)
        and _has_one_output(layer)
        and call.context.source is analysis.source
    ):
        yield _hit(analysis, here or call, layer.made_by if isinstance(layer, Instance) else None)


def _in_a_row(analysis: Analysis) -> Iterator[Hit]:
    """Yield softmaxes that stand in a Sequential after such a layer."""
    for call in once_per_place(analysis.calls("torch.nn.Sequential")):
        for before, layer in zip(call.args, call.args[1:], strict=False):
            if not isinstance(layer, Instance) or layer.type not in ("torch.nn.Softmax", "torch.nn.LogSoftmax"):
                continue
            made = layer.made_by
            if made is not None and made.constant(0, "dim") in _LAST and _has_one_output(before):
                yield _hit(analysis, made, before.made_by if isinstance(before, Instance) else None)


def _has_one_output(layer: object) -> bool:
    made = layer.made_by if isinstance(layer, Instance) and layer.type == "torch.nn.Linear" else None
    return made is not None and made.constant(1, "out_features") == 1


def _hit(analysis: Analysis, call: Call, layer: Call | None) -> Hit:
    where = () if layer is None else (Evidence("the layer", analysis.place(layer.node, layer.context)),)
    return Hit(
        place=analysis.place(call.node, call.context),
        message="the softmax of one number is always 1",
        evidence=where,
        fix="Take the axis that is meant (time for attention), or a sigmoid for one output.",
    )
