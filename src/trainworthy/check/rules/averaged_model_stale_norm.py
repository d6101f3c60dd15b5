"""An averaged model keeps batch statistics that belong to other weights.

What it finds:
    `AveragedModel(model)` where the model is known to hold BatchNorm, without `update_bn` or `use_buffers=True`.

Why:
    The running mean and variance were those of the first weights; the averaged model predicts badly.

How sure:
    Neither `update_bn` nor `use_buffers` occurs in the program.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import inner_modules, once_per_place

BAD = """\
import torch.nn as nn
from torch.optim.swa_utils import AveragedModel

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
average = AveragedModel(net)  # <- TW607
"""

GOOD = """\
import torch.nn as nn
from torch.optim.swa_utils import AveragedModel

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
average = AveragedModel(net, use_buffers=True)
"""


@rule(code="TW607", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is averaged."""
    if analysis.mentions("update_bn"):
        return
    for call in once_per_place(analysis.calls("torch.optim.swa_utils.AveragedModel")):
        inner = call.argument(0, "model")
        if inner is None or call.has(None, "use_buffers"):
            continue
        if any(one.type.startswith("torch.nn.BatchNorm") for one in inner_modules(inner)):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the averaged model keeps the batch statistics of its first weights",
                fix="Call `torch.optim.swa_utils.update_bn(loader, model)`, or pass `use_buffers=True`.",
            )
