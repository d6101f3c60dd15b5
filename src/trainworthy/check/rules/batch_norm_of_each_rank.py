"""BatchNorm under DDP uses the statistics of each rank's own batch.

What it finds:
    `DistributedDataParallel(model)` where the model is known to hold `BatchNorm`, and nothing converts it to
    `SyncBatchNorm`.

Why:
    Each rank normalises with its own part of the batch. With few samples a rank, the statistics are noisy, and N
    ranks are not one rank with the large batch.

How sure:
    A hint: with many samples a rank this is usual and fine.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import inner_modules, once_per_place

BAD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
model = DistributedDataParallel(net, device_ids=[0])  # <- TW412
"""

GOOD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
model = DistributedDataParallel(net, device_ids=[0])
"""


@rule(code="TW412", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what DDP wraps."""
    if analysis.mentions("convert_sync_batchnorm", "SyncBatchNorm"):
        return
    for call in once_per_place(analysis.calls("torch.nn.parallel.DistributedDataParallel")):
        inner = call.argument(0, "module")
        if inner is None or call.context.source is not analysis.source:
            continue
        norm = next((one for one in inner_modules(inner) if one.type.startswith("torch.nn.BatchNorm")), None)
        if norm is not None and norm.made_by is not None:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="BatchNorm uses the statistics of each rank's own batch",
                evidence=(Evidence("one is here", analysis.place(norm.made_by.node, norm.made_by.context)),),
                fix="If batches are small: `nn.SyncBatchNorm.convert_sync_batchnorm(model)` before wrapping.",
            )
